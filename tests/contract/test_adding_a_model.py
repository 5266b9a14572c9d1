# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Follows docs/adding-a-model.md word for word in a copy of the program, and tests the result."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.pictures import encoded, picture

PAGE = (PROJECT / "docs" / "adding-a-model.md").read_text()
BLOCK = re.compile(r"^```\w+ (?P<kind>file|line|run)=?(?P<path>\S*)\n(?P<code>(?s:.*?))^```$", re.M)


def program(folder: Path) -> Path:
    """Copy the program, follow the page in the copy, and return the folder of the user's files."""
    for name in ("app", "config"):
        shutil.copytree(PROJECT / name, folder / "program" / name)
    for name in ("gunicorn.conf.py", "wsgi.py"):
        shutil.copy(PROJECT / name, folder / "program")
    home = folder / "home"
    home.mkdir()
    for block in BLOCK.finditer(PAGE):
        code, path = block["code"], block["path"]
        if block["kind"] == "run":
            subprocess.run([sys.executable, "-c", code], cwd=home, check=True)
        elif block["kind"] == "line":
            file = folder / "program" / path
            text = file.read_text()
            mark = "FAMILIES: dict[str, Family] = {\n"
            assert mark in text
            file.write_text(text.replace(mark, mark + code))
        elif path.startswith("app/"):
            (folder / "program" / path).write_text(code)
        else:
            (home / path).write_text(code.replace("/absolute/path/of", str(home)))
    return home


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("adding")
    home = program(folder)
    service = Service(
        folder / "log",
        HF_HUB_CACHE=folder / "hub",
        HF_HUB_OFFLINE=1,
        MODELS_FILE=home / "my-models.toml",
        DEPTH_MODEL="bright",
        DEFAULT_MODEL="mean-colour",
    )
    service.project = folder / "program"
    with service.started():
        service.wait_until_warm()
        yield service


def test_the_two_families_are_as_short_as_the_page_says() -> None:
    files = [block["code"] for block in BLOCK.finditer(PAGE) if block["path"].startswith("app/")]
    assert len(files) == 2
    assert max(len(code.splitlines()) for code in files) <= 40


def test_the_depth_family(service: Service) -> None:
    photo = Image.new("RGB", (90, 60), "black")
    photo.paste("white", (45, 0, 90, 60))
    answer = service.post("/api/depth?model=bright", files={"image": encoded(photo)})
    assert answer.status_code == 200
    assert answer.headers["X-Model-Used"] == "bright"
    levels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert levels.shape == (60, 90)
    assert levels[:, :30].max() < 20
    assert levels[:, 60:].min() > 235


def test_the_embedding_family(service: Service) -> None:
    files = {"image": encoded(picture(80, 60))}
    answer = service.post("/embed-image", files=files, data={"model": "mean-colour"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["dims"], body["image_size"]) == (8, 32)
    assert np.linalg.norm(body["embedding"]) == pytest.approx(1)
    (shown,) = [
        model for model in service.get("/models").json()["models"] if model["id"] == "mean-colour"
    ]
    assert (shown["dims"], shown["image_size"]) == (8, 32)


def test_images_only_means_no_texts(service: Service) -> None:
    answer = service.post("/embed-text", json={"text": "a cat", "model": "mean-colour"})
    assert answer.status_code == 400
    assert "embeds images only" in answer.json()["message"]


def test_both_run_where_they_can_run_fastest(service: Service) -> None:
    models = {each["name"]: each for each in service.get("/health").json()["models"]}
    assert models["bright"]["engine"] == models["mean-colour"]["engine"] == "openvino"


def test_a_folder_of_the_users_own_is_not_deleted(service: Service) -> None:
    answer = service.delete("/api/models/bright")
    assert "cannot be deleted" in check.error(answer, 500, "Delete failed")
    assert answer.json()["success"] is False
