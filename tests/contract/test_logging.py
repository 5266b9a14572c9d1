# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the log: all lines have the same format and name the request, on stderr and in the file.

The format is text or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.service import Service
from tests.services import PHOTO


@pytest.fixture(scope="module")
def logging(
    start: Callable[..., Service], hub: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    return start(
        HF_HUB_CACHE=hub,
        ENABLED_FAMILIES="depth",
        WEB_CONCURRENCY=2,
        LOG_JSON_FORMAT="true",
        LOG_FILE=tmp_path_factory.mktemp("logs") / "twinlens.log",
        LOG_MAX_BYTES=20_000,
        LOG_BACKUP_COUNT=50,
    )


def test_a_request_leaves_one_line_with_everything(logging: Service) -> None:
    headers = {"X-Request-ID": "photo-1"}
    answer = logging.post("/api/depth?x=secret", files={"image": ("a.png", PHOTO)}, headers=headers)
    lines = [json.loads(line) for line in logging.text().splitlines()]
    (line,) = (line for line in lines if line["request_id"] == "photo-1" and "status" in line)
    expected = {"method": "POST", "path": "/api/depth", "status": 200, "model": "small"}
    assert line | expected == line
    assert line["duration_ms"] >= line["infer_ms"] > 0
    assert line["wait_ms"] >= 0
    assert line["bytes_in"] > len(PHOTO)
    assert line["bytes_out"] == len(answer.content)
    assert "secret" not in logging.text()
    assert {line["name"] for line in lines} >= {"gunicorn.error", "twinlens.access"}


def test_the_file_rotates_and_loses_nothing_with_two_workers(logging: Service) -> None:
    for number in range(200):
        logging.get("/health", headers={"X-Request-ID": f"n{number}"})
    file = Path(str(logging.environ["LOG_FILE"]))
    files = list(file.parent.glob("twinlens.log*"))
    assert len(files) > 2
    text = "".join(each.read_text() for each in files)
    ids = [json.loads(line)["request_id"] for line in text.splitlines()]
    assert all(ids.count(f"n{number}") == 1 for number in range(200))


def test_text_lines_have_the_id_and_no_line_breaks_of_clients(service: Service) -> None:
    service.get("/x%0aINFO%20forged", headers={"X-Request-ID": "text-1"})
    (line,) = (line for line in service.text().splitlines() if "[text-1]" in line)
    assert "status=404" in line
    assert "\\nINFO forged" in line
