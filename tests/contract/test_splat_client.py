# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests docs/contracts.md under "3D from one photo", with requests like ImmichVR's backend's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from benchmarks.service import Service
from tests import ply
from tests.contract import check
from tests.fake_hub import FakeHub
from tests.pictures import encoded, picture, rotated_jpeg
from tests.services import PHOTO

EMPTY = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}


def post(
    base: str, data: bytes = PHOTO, name: str = "IMG_1.final.jpg", query: str = "", **form: str
) -> requests.Response:
    files = {"image": (name, data, "image/jpeg")}
    return requests.post(f"{base}/api/splat{query}", files=files, data=form, timeout=300)


def test_a_photo_to_a_file_of_splats(base: str) -> None:
    response = post(base)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/octet-stream"
    disposition = response.headers["Content-Disposition"]
    assert disposition == 'attachment; filename="splat_IMG_1.final.ply"'
    assert response.headers["X-Model-Used"] == "small"
    assert response.headers["X-File-Size"] == str(len(response.content))
    splats = ply.read(response.content)
    assert len(splats["x"]) >= 0.9 * 320 * 240
    assert all(np.isfinite(values).all() for values in splats.values())
    # The camera is at the origin and looks along z: x right, y down.
    assert splats["z"].min() > 0
    assert splats["x"].min() < 0 < splats["x"].max()
    assert splats["y"].min() < 0 < splats["y"].max()
    rotations = np.stack([splats[f"rot_{part}"] for part in range(4)], 1)
    assert np.allclose(np.linalg.norm(rotations, axis=1), 1, atol=1e-3)
    colours = np.stack([0.5 + 0.28209479 * splats[f"f_dc_{part}"] for part in range(3)], 1)
    assert colours.min() > -0.01
    assert colours.max() < 1.01


def test_the_photo_is_upright_and_its_colours_are_where_they_belong(service: Service) -> None:
    """A photo whose left half is red and right half is blue, taken with the camera turned."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:, :60], pixels[:, 60:] = (255, 0, 0), (0, 0, 255)
    splats = ply.read(post(service.url(""), rotated_jpeg(Image.fromarray(pixels))).content)
    x, y = splats["x"] / splats["z"], splats["y"] / splats["z"]
    assert np.ptp(y) > np.ptp(x), "it is higher than wide"
    red, blue = splats["f_dc_0"] > 1, splats["f_dc_2"] > 1
    assert abs(y[red].mean() - y[blue].mean()) > 0.2
    assert abs(x[red].mean() - x[blue].mean()) < 0.1


def test_no_image_in_the_exact_words(base: str) -> None:
    for response in (
        requests.post(f"{base}/api/splat", timeout=240),
        requests.post(f"{base}/api/splat", files={"photo": ("a.png", PHOTO)}, timeout=240),
        requests.post(f"{base}/api/splat", data=PHOTO, timeout=240),
    ):
        message = check.error(response, 400, "No image provided")
        assert message == "Please upload an image file with key 'image'"


@pytest.mark.parametrize(
    ("kind", "mimetype", "magic"),
    [
        ("ply", "application/octet-stream", b"ply\n"),
        ("splat", "application/octet-stream", b""),
        ("spz", "application/octet-stream", b"\x1f\x8b"),
        ("glb", "model/gltf-binary", b"glTF\2\0\0\0"),
    ],
)
def test_formats(service: Service, kind: str, mimetype: str, magic: bytes) -> None:
    for response in (
        post(service.url(""), query=f"?format={kind}"),
        post(service.url(""), query="?format=ply", format=kind),
    ):
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == mimetype
        disposition = response.headers["Content-Disposition"]
        assert disposition == f'attachment; filename="splat_IMG_1.final.{kind}"'
        assert response.content.startswith(magic)
        assert response.headers["X-File-Size"] == str(len(response.content))


def test_headers_of_every_inference(service: Service) -> None:
    response = post(service.url(""), query="?fov=90")
    stages = {part.partition(";")[0] for part in response.headers["Server-Timing"].split(", ")}
    assert stages == {"decode", "prepare", "wait", "infer", "finish", "encode"}
    assert response.headers["X-Model-Weights"] == "random"
    assert response.headers["X-Queue-Concurrency"] == "1"
    assert response.headers["X-Depth-Unit"] == "relative"
    assert float(response.headers["X-Field-Of-View"]) == 90
    assert float(response.headers["X-Focal-Length-Px"]) == pytest.approx(160)


def test_max_splats_and_depth_range_hold(service: Service) -> None:
    splats = ply.read(post(service.url(""), depth_range="2,8").content)
    assert splats["z"].min() == pytest.approx(2, rel=0.05)
    assert splats["z"].max() == pytest.approx(8, rel=0.05)
    fewer = ply.read(post(service.url(""), max_splats="5000", depth_range="2,8").content)
    assert 2500 < len(fewer["x"]) <= 5000
    # A smaller map has averages of what was nearest and farthest.
    assert 1.9 < fewer["z"].min() < fewer["z"].max() < 8.1


def test_the_field_of_view_is_that_of_the_photo_s_edges(service: Service) -> None:
    for fov, edge in (("90", 1.0), ("60", np.tan(np.pi / 6))):
        splats = ply.read(post(service.url(""), fov=fov).content)
        assert np.abs(splats["x"] / splats["z"]).max() == pytest.approx(edge, rel=0.02)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("fov=0", "fov"),
        ("fov=nan", "fov"),
        ("fov=180", "fov"),
        ("max_splats=-1", "max_splats"),
        ("max_splats=1e3", "max_splats"),
        ("max_splats=99999999999999999999", "2000000"),
        ("max_splats=" + "9" * 1000, "max_splats"),
        ("depth_range=nan,1", "near,far"),
        ("depth_range=1,inf", "near,far"),
        ("depth_range=5,2", "near,far"),
        ("depth_range=-1,2", "near,far"),
        ("depth_range=1", "near,far"),
        ("depth_range=1,2,3", "near,far"),
        ("format=gif", "'ply', 'splat', 'spz' or 'glb'"),
        ("format=glb&max_splats=5000", "max_vertices"),
        ("format=spz&max_vertices=5000", "format=glb"),
        ("colormap=inferno", "colormap"),
        ("stereo=sbs", "stereo"),
    ],
)
def test_bad_options_are_named(service: Service, query: str, named: str) -> None:
    message = check.error(post(service.url(""), query=f"?{query}"), 400, "Invalid option")
    assert named in message
    assert len(message) < 300


def test_unknown_models_and_models_of_other_tasks(service: Service) -> None:
    for key in ("huge", "ViT-L-14"):
        message = check.error(post(service.url(""), query=f"?model={key}"), 400, "Unknown model")
        assert "small" in message


def test_hostile_files(service: Service) -> None:
    base = service.url("")
    check.error(post(base, b""), 400, "Invalid image")
    check.error(post(base, b"hello"), 400, "Invalid image")
    check.error(post(base, PHOTO[:500]), 400, "Invalid image")
    assert "20:1" in check.error(post(base, encoded(picture(421, 20))), 413)


@pytest.mark.parametrize("size", [(1, 1), (400, 20), (20, 400), (2, 3)])
@pytest.mark.parametrize("kind", ["ply", "spz", "glb"])
def test_tiny_and_long_photos(service: Service, size: tuple[int, int], kind: str) -> None:
    photo = encoded(picture(50, 50).resize(size))
    response = post(service.url(""), photo, format=kind)
    assert response.status_code == 200, response.text
    if kind == "ply":
        splats = ply.read(response.content)
        assert len(splats["x"]) >= size[0] * size[1] * 0.9
        assert all(np.isfinite(values).all() for values in splats.values())


def test_any_depth_model_makes_splats_and_sharp_is_the_current_one(managed: Service) -> None:
    base = managed.url("")
    assert post(base, query="?model=small").headers["X-Model-Used"] == "small"
    assert post(base, model="small").headers["X-Model-Used"] == "small"
    check.json(managed.post("/api/models/base/load", json={}))
    for query in ("", "?model=sharp"):
        assert post(base, query=query).headers["X-Model-Used"] == "base"
    check.json(managed.post("/api/models/base/unload", headers=EMPTY))


def test_sharp_in_model_management_as_the_panel_uses_it(managed: Service) -> None:
    listed = check.json(managed.get("/api/models"))["models"]
    assert [model["key"] for model in listed] == ["small", "base", "large", "sharp"]
    sharp = listed[-1]
    assert (sharp["name"], sharp["type"], sharp["is_downloaded"]) == ("3D splats", "splat", True)
    assert "Depth Anything V2 Small" in sharp["description"]
    loaded = check.json(managed.post("/api/models/sharp/load", json={"device": "cpu"}))
    assert loaded["success"] is True
    assert loaded["current_model"] == "small"
    assert check.json(managed.get("/api/models/sharp"))["is_loaded"] is True
    assert check.json(managed.post("/api/models/sharp/download", headers=EMPTY))["success"]
    assert check.json(managed.post("/api/models/sharp/unload", headers=EMPTY))["success"]
    assert check.json(managed.get("/api/models/sharp"))["is_loaded"] is False
    deleted = check.json(managed.delete("/api/models/sharp"))
    assert deleted["success"] is True
    assert "stays on disk" in deleted["message"]
    assert check.json(managed.get("/api/models/small"))["is_downloaded"] is True
    everything = check.json(managed.get("/api/models?type=all"))["models"]
    assert everything[-1]["key"] == "sharp"


def test_the_status_and_a_download_that_is_done(service: Service) -> None:
    status = check.json(service.get("/api/splat/status"))
    assert status["model_key"] == "sharp"
    assert status["model_name"] == "3D splats, from the depth maps of Depth Anything V2 Small"
    assert status["is_downloaded"] is True
    assert status["depth_model"] == "small"
    done = check.json(service.post("/api/splat/download", headers=EMPTY))
    assert done["status"] == "already_downloaded"
    assert done["message"]


def test_a_download_that_fetches_it(
    hub: Path, start: Callable[..., Service], tmp_path: Path
) -> None:
    with FakeHub(hub).running() as fake_hub:
        service = start(
            ready=False,
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=fake_hub.endpoint,
            HF_HUB_OFFLINE=0,
            ENABLED_FAMILIES="depth",
            WARMUP_ON_STARTUP="false",
        )
        service.wait_for("/ready", 200)
        check.json(service.delete("/api/models/small"))
        assert check.json(service.get("/api/splat/status"))["is_downloaded"] is False
        done = check.json(service.post("/api/splat/download", headers=EMPTY))
        assert done["status"] == "success"
        assert check.json(service.get("/api/splat/status"))["is_downloaded"] is True


def test_a_download_that_fails(start: Callable[..., Service]) -> None:
    service = start(ENABLED_FAMILIES="depth")
    check.json(service.delete("/api/models/small"))
    assert check.json(service.get("/api/splat/status"))["is_downloaded"] is False
    failed = service.post("/api/splat/download", headers=EMPTY)
    message = check.error(failed, 500)
    assert failed.json()["status"] == "failed"
    assert "HF_HUB_OFFLINE" in message
    refused = post(service.url(""))
    check.error(refused, 503, "Model not initialized")
    # HF_HUB_OFFLINE is set: no client need wait for weights that will not come.
    assert "Retry-After" not in refused.headers
    assert refused.json()["code"] == "model_not_on_disk"
