# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``SERVICE_API_KEY_FOR`` (docs/contracts.md, "Authentication") and ways to get around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.blueprints.application import create_app
from app.blueprints.hooks import PUBLIC
from app.runtime import Runtime
from benchmarks.service import PROJECT, Service
from config.settings import Settings
from tests.contract import check
from tests.services import PHOTO

KEY = "correct horse battery staple"

DEPTH = [
    ("POST", "/api/depth"),
    ("POST", "/api/depth?model=base"),
    ("POST", "/api//depth"),  # reaches the same route, so the same rule applies
    ("GET", "/api/models"),
    ("HEAD", "/api/models"),
    ("GET", "/api/models?type=depth"),
    ("GET", "/api/models/current"),
    ("GET", "/api/models/small"),
    ("POST", "/api/models/builtin-depth/unload"),
    ("POST", "/api/models/%73mall/unload"),
    ("DELETE", "/api/models/large"),
    ("POST", "/api/splat"),
    ("GET", "/api/jobs/AAAAAAAAAAAAAAAAAAAAAA"),
    ("GET", "/api//jobs/AAAAAAAAAAAAAAAAAAAAAA/result"),
    ("DELETE", "/api/jobs/AAAAAAAAAAAAAAAAAAAAAA"),
    ("GET", "/api/splat/status"),
    ("POST", "/api/video/depth"),
    ("POST", "/api//video/sbs"),
    ("POST", "/api/video/frames"),
    ("POST", "/api/models/sharp/unload"),
    ("DELETE", "/api/models/sharp"),
]
EMBEDDING = [
    ("GET", "/models"),
    ("HEAD", "/models"),
    ("POST", "/embed-image"),
    ("POST", "/embed-batch"),
    ("POST", "/embed-text"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v2/embed"),
    ("POST", "/similarity"),
    ("POST", "/classify"),
    ("GET", "/ping"),
    ("POST", "/predict"),
    ("GET", "/v1/models"),
    ("GET", "/api/models/ViT-L-14"),
    ("POST", "/api/models/ViT-B-16/unload"),
    ("DELETE", "/api/models/ViT-B-16"),
]
# These belong to both families or to none: they need the key whatever SERVICE_API_KEY_FOR says.
NEITHER = [
    ("GET", "/metrics"),
    ("POST", "/admin/cleanup"),
    ("GET", "/api/models?type=all"),
    ("HEAD", "/api/models?type=all"),
    ("GET", "/api/models?type=all&type=depth"),
    ("GET", "/api/models/huge"),
    ("POST", "/api/models/huge/load"),
    ("POST", "/api/models/SMALL/unload"),
    ("POST", "/api/models/vit-l-14/unload"),
    ("POST", "/api/models/small%20/unload"),
    ("POST", "/api/models/small%00/unload"),
    ("POST", "/api/models/ViT-L-14:text/unload"),
    ("DELETE", "/api/models/current"),
    ("POST", "/api/models/current/load"),
    ("POST", "/api/models/small/../ViT-L-14/unload"),
    ("POST", "/api/models/small%2f..%2fViT-L-14/unload"),
    ("GET", "/API/MODELS"),
    ("GET", "/api/models/"),
    ("POST", "//api/depth"),
    ("GET", "/api/splat/other"),
    ("GET", "/api/jobs/"),
    ("GET", "/api/jobs/AAAAAAAAAAAAAAAAAAAAAA/other"),
    ("POST", "/api/video/other"),
    ("POST", "/api/models/Sharp/unload"),
    ("GET", "/nothing"),
    ("PUT", "/api/models"),
    ("POST", "/api/preview"),
    ("POST", "/api/models"),
]
ALWAYS_OPEN = [("GET", path) for path in ("/", "/health", "/ready", "/ui", "/docs")]


def client(tmp_path: Path, **settings: Any) -> Iterator[FlaskClient]:
    """Yield a client of an app that runs in this process and has no model on disk."""
    chosen = Settings(hf_hub_cache=tmp_path, hf_hub_offline=True, **settings)
    runtime = Runtime(chosen)
    runtime.start()
    yield create_app(chosen, runtime).test_client()
    runtime.close()


@pytest.fixture(scope="module", params=["all", "embedding", "depth"])
def scope(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guarded(scope: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    yield from client(
        tmp_path_factory.mktemp("hub"), service_api_key=SecretStr(KEY), service_api_key_for=scope
    )


@pytest.mark.parametrize(
    ("family", "method", "path"),
    [
        (family, method, path)
        for family, routes in (("depth", DEPTH), ("embedding", EMBEDDING), ("neither", NEITHER))
        for method, path in routes
    ],
)
def test_who_needs_the_key(
    guarded: FlaskClient, scope: str, family: str, method: str, path: str
) -> None:
    needs_it = "all" in (scope, family) or family in (scope, "neither")
    for headers in ({}, {"X-Api-Key": "wrong"}):
        answer = guarded.open(path, method=method, headers=headers)
        assert (answer.status_code == 401) == needs_it, answer.status_code
    assert guarded.open(path, method=method, headers={"X-Api-Key": KEY}).status_code != 401


@pytest.mark.parametrize(("method", "path"), ALWAYS_OPEN)
def test_probes_and_pages_stay_open(guarded: FlaskClient, method: str, path: str) -> None:
    assert guarded.open(path, method=method).status_code != 401


def covers(listed: str, rule: str) -> bool:
    """Whether an address in the list of docs/contracts.md stands for a route."""
    return rule == listed.removesuffix("…") or rule.startswith(f"{listed.rstrip('/…')}/")


def test_the_contract_lists_every_route_that_is_open(guarded: FlaskClient, scope: str) -> None:
    """All but /api/models, where the key in the address decides."""
    text = (PROJECT / "docs/contracts.md").read_text()
    section = text.partition("## Authentication\n")[2].partition("\n## ")[0]
    lists = {
        family: re.findall(r"`(?:[A-Z]+ )?(/[^`?]+)`", line)
        for family, line in re.findall(r"^- of (\w+)(.*(?:\n  .*)*)", section, re.MULTILINE)
    }
    assert set(lists) == {"depth", "embedding", "neither"}
    open_ones = {"embedding": lists["depth"], "depth": lists["embedding"], "all": []}[scope]
    for rule in guarded.application.url_map.iter_rules():
        if rule.endpoint in PUBLIC or rule.rule.startswith("/api/models"):
            continue
        assert any(covers(each, rule.rule) for every in lists.values() for each in every), rule
        listed = any(covers(each, rule.rule) for each in open_ones)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = guarded.open(re.sub("<.*?>", "x", rule.rule), method=method)
            assert (answer.status_code != 401) == listed, (method, rule)


def test_an_overridden_method_or_address_counts_for_nothing(
    guarded: FlaskClient, scope: str
) -> None:
    headers = {
        "X-HTTP-Method-Override": "OPTIONS",
        "X-Original-URL": "/api/models",
        "X-Rewrite-URL": "/api/models",
        "X-Forwarded-Prefix": "/api/models",
    }
    assert guarded.post("/admin/cleanup", headers=headers).status_code == 401, scope


def test_a_family_that_is_off_opens_nothing(tmp_path: Path) -> None:
    for app in client(
        tmp_path,
        service_api_key=SecretStr(KEY),
        service_api_key_for="depth",
        enabled_families=("depth",),
    ):
        assert app.get("/api/models/ViT-L-14").status_code == 401
        assert app.get("/api/models").status_code == 401


@pytest.fixture(scope="module")
def immichvr(start: Callable[..., Service], hub: Path) -> Service:
    """Run a service for both clients: Classifarr has the key, ImmichVR cannot send one."""
    return start(HF_HUB_CACHE=hub, SERVICE_API_KEY=KEY, SERVICE_API_KEY_FOR="embedding")


def test_immichvr_works_without_a_key_beside_classifarr_with_one(immichvr: Service) -> None:
    check.json(immichvr.post("/api/models/base/load", json={"device": "cpu"}))
    check.depth_map(immichvr.post("/api/depth", files={"image": ("a.png", PHOTO)}))
    assert check.json(immichvr.get("/api/models"))["current_model"] == "base"
    check.json(immichvr.post("/api/models/base/unload"))
    check.error(immichvr.get("/models"), 401)
    check.error(immichvr.post("/embed-image", files={"image": PHOTO}), 401)
    check.error(immichvr.post("/api/models/ViT-L-14/unload"), 401)
    headers = {"X-Api-Key": KEY}
    embedded = immichvr.post("/embed-image", files={"image": PHOTO}, headers=headers)
    assert check.json(embedded)["dims"] == 768


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/small/../ViT-L-14/unload",
        "/api/models/small%2f../ViT-L-14/unload",
        "/api/models/ViT-L-14%2funload",
        "/./admin/cleanup",
        "//admin/cleanup",
        "/api/depth/../../admin/cleanup",
        "/admin/cleanup?/api/depth",
        "/admin/cleanup;/api/depth",
    ],
)
def test_no_way_to_write_an_address_leads_past_the_key(immichvr: Service, path: str) -> None:
    """The address is sent unchanged, whereas HTTP clients usually normalise it first."""
    request = requests.Request("POST", immichvr.url("/")).prepare()
    request.url = immichvr.url(path)
    with requests.Session() as session:
        answer = session.send(request, timeout=240, allow_redirects=False)
    assert answer.status_code == 401
