# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which clients get the console page, and which still get the JSON answer as before."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest
import requests

from app.blueprints.console import _FOLDER
from benchmarks.service import Service
from tests.contract import check

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROME = f"{FIREFOX},image/avif,image/webp,application/signed-exchange;v=b3;q=0.7"
AXIOS = "application/json, text/plain, */*"


def get(base: str, accept: str | None, path: str = "/") -> requests.Response:
    return requests.get(base + path, headers={"Accept": accept}, timeout=240)


@pytest.mark.parametrize("accept", [FIREFOX, CHROME, "text/html"])
def test_browsers_get_the_console(base: str, accept: str) -> None:
    page = get(base, accept)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["Vary"]
    assert page.text == requests.get(f"{base}/ui", timeout=240).text


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", AXIOS, "application/json", "text/*", "text/html, application/json",
     "text/html;q=0.5, application/json", "text/html;q=0", "nonsense"],
)  # fmt: skip
def test_programs_get_the_json(base: str, accept: str | None) -> None:
    answer = get(base, accept)
    assert check.json(answer)["message"] == "ImmichVR AI Service"
    assert "Accept" in answer.headers["Vary"]


def test_the_page_allows_itself_nothing_but_its_own(service: Service) -> None:
    for path in ("/ui", "/ui/app.js", "/ui/page.css"):
        headers = service.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
    page = service.get("/ui").text
    assert not re.search(r"https?:|<script(?! type=\"module\" src)|<style|style=| on\w+=", page)


def test_only_the_page_that_draws_in_3d_may_compile(service: Service) -> None:
    """It alone may be in a frame, and only of this service; it asks the service for nothing."""
    page = service.get("/ui/scene.html")
    (import_map,) = re.findall(r'<script type="importmap">(.*?)</script>', page.text, re.DOTALL)
    digest = b64encode(sha256(import_map.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{digest}'",
        "worker-src": "blob:",
        "style-src": "'self'",
        "img-src": "blob:",
        "connect-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }
    assert "frame-ancestors 'none'" in service.get("/ui").headers["Content-Security-Policy"]
    assert "wasm" not in service.get("/ui").headers["Content-Security-Policy"]


def test_what_a_browser_has_is_not_sent_again(service: Service) -> None:
    first = service.get("/ui/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = service.get("/ui/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "%2e%2e%2fconsole.py", "..%2findex.html"])
def test_other_files_are_not_there(service: Service, name: str) -> None:
    check.error(service.get(f"/ui/{name}"), 404)


def test_a_slash_too_many_leads_to_the_page(service: Service) -> None:
    answer = service.get("/ui/", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, "../ui")
    assert service.get("/ui/").text == service.get("/ui").text


def test_every_part_is_served_and_fits_in_the_head(service: Service) -> None:
    for file in (file for file in _FOLDER.iterdir() if file.is_file()):
        if file.suffix == ".mp4":  # /docs serves it
            continue
        answer = service.get(f"/ui/{file.name}")
        assert answer.content == file.read_bytes()
        if file.suffix != ".jpg":
            assert len(file.read_text().splitlines()) <= 400
