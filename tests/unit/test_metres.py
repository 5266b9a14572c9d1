# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests requests for metres and for relative depth on the app, without starting a service."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app.blueprints.application import create_app
from app.engines.base import FloatArray, LoadError
from app.errors import BadRequest
from app.hub.store import BUILTIN, Checkpoint
from app.models.base import describe_checkpoint
from app.models.depth_anything import DepthAnything
from app.rendering import formats, maps
from app.rendering.options import DepthOptions
from app.runtime import Runtime
from config.models import ModelSpec
from config.settings import Settings
from tests import ply
from tests.pictures import encoded, picture

# These tests hold for any weights, so the metric checkpoint has those of the built-in model.
FARTHEST = 20
ROWS = """
[[model]]
key = "metric"
family = "depth_anything"
path = "{}"
"""
WIDTH, HEIGHT = 320, 240
PHOTO = encoded(picture(WIDTH, HEIGHT), "PNG")
#: width of the network's input for this photo
INPUT_WIDTH = 336


def metric_checkpoint(folder: Path) -> Path:
    shutil.copytree(BUILTIN / "builtin-depth", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"depth_estimation_type": "metric", "max_depth": FARTHEST}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("metric")
    table = folder / "models.toml"
    table.write_text(ROWS.format(metric_checkpoint(folder / "checkpoint")))
    settings = Settings(
        hf_hub_cache=folder / "hub",
        hf_hub_offline=True,
        models_file=table,
        depth_model="metric",
        engine="torch",
        precision="fp32",
    )
    runtime = Runtime(settings)
    runtime.start()
    yield create_app(settings, runtime)
    runtime.close()


def ask(client: FlaskClient, photo: bytes = PHOTO, model: str = "metric", **form: Any) -> Any:
    fields = {"image": (io.BytesIO(photo), "a.jpg"), **{k: str(v) for k, v in form.items()}}
    address = f"/api/depth?model={model}"
    return client.post(address, data=fields, content_type="multipart/form-data")


def numbers(response: Any) -> FloatArray:
    assert response.status_code == 200, response.text
    values: FloatArray = np.load(io.BytesIO(response.data), allow_pickle=False)
    assert values.dtype == np.float32
    return values


def refusal(response: Any, title: str = "Invalid option") -> str:
    assert response.status_code == 400, response.text
    assert response.get_json()["error"] == title
    return str(response.get_json()["message"])


def with_focal_length(millimetres: int) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = millimetres  # FocalLengthIn35mmFilm
    return encoded(picture(WIDTH, HEIGHT), "JPEG", exif=exif.tobytes())


def test_metres(client: FlaskClient) -> None:
    response = ask(client, unit="metres", format="npy")
    metres = numbers(response)
    assert metres.shape == (HEIGHT, WIDTH)
    assert response.headers["X-Depth-Unit"] == "metres"
    low, high = (np.float32(response.headers[f"X-Depth-{name}"]) for name in ("Min", "Max"))
    assert 0 < low <= metres.min() < metres.max() <= high <= FARTHEST
    assert "X-Focal-Length-Px" not in response.headers
    assert "X-Field-Of-View" not in response.headers
    small = numbers(ask(client, unit="metres", format="npy", size=100))
    assert small.shape == (75, 100)
    assert small.mean() == pytest.approx(metres.mean(), rel=0.01)


def test_the_map_of_a_metric_model_is_near_as_bright(client: FlaskClient) -> None:
    metres = numbers(ask(client, unit="metres", format="npy", size="model"))
    relative = ask(client, format="npy", normalize="none", size="model")
    assert numbers(relative) == pytest.approx(1 / metres, rel=1e-5)
    assert relative.headers["X-Depth-Unit"] == "relative"
    assert float(relative.headers["X-Depth-Max"]) == pytest.approx(1 / metres.min(), rel=1e-5)
    shown = np.asarray(Image.open(io.BytesIO(ask(client, size="model").data))).astype(int)
    spread = (1 / metres - 1 / metres.max()) / (1 / metres.min() - 1 / metres.max())
    assert np.abs(shown - 255 * spread).max() <= 0.51


def test_tiff_has_the_numbers_of_npy(client: FlaskClient) -> None:
    forms: list[dict[str, Any]] = [
        {"unit": "metres"},
        {},
        {"normalize": "none"},
        {"invert": "1"},
        {"size": "90"},
    ]
    for form in forms:
        response = ask(client, format="tiff", **form)
        assert response.mimetype == "image/tiff"
        assert 'filename="depth_a.tiff"' in response.headers["Content-Disposition"]
        image = Image.open(io.BytesIO(response.data))
        assert (image.format, image.mode) == ("TIFF", "F")
        expected = numbers(ask(client, format="npy", **form))
        np.testing.assert_array_equal(np.asarray(image), expected)
        other = cv2.imdecode(np.frombuffer(response.data, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(other, expected)


def test_a_relative_model_gives_no_metres(client: FlaskClient) -> None:
    message = refusal(ask(client, model="builtin-depth", unit="metres", format="npy"))
    assert message.startswith("builtin-depth does not give metres")
    assert "model=metric-indoor-small or " in message
    assert message.endswith(" or metric"), "one whose row does not say it"
    # A model that is not on disk is refused because of its row, without being downloaded first.
    assert "metric" in refusal(ask(client, model="large", unit="metres", format="tiff"))


WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        ({"unit": "metres", "format": name}, "unit=metres needs format=npy or tiff")
        for name in ("png", "png16", "webp", "jpeg")
    ),
    ({"unit": "metres"}, "unit=metres needs format=npy or tiff"),
    ({"unit": "metres", "stereo": "sbs"}, "unit=metres needs format=npy or tiff"),
    ({"unit": "metres", "format": "npy", "stereo": "sbs"}, "stereo=sbs needs format=png"),
    ({"unit": "metres", "format": "npy", "invert": "1"}, "leave invert out"),
    ({"unit": "metres", "format": "tiff", "colormap": "turbo"}, "a colormap needs format=png"),
    ({"unit": "feet", "format": "npy"}, "'relative' or 'metres'"),
    ({"focal_length": "900"}, "focal_length needs unit=metres"),
    ({"unit": "metres", "format": "npy", "focal_length": "-1"}, "greater than or equal to 0"),
    ({"unit": "metres", "format": "npy", "focal_length": "inf"}, "focal_length"),
    ({"unit": "metres", "format": "npy", "focal_length": "wide"}, "focal_length"),
    ({"format": "tiff", "colormap": "turbo"}, "a colormap needs format=png"),
    ({"format": "tiff", "stereo": "sbs"}, "stereo=sbs needs format=png"),
    ({"format": "png16", "normalize": "none"}, "normalize=none needs format=npy or tiff"),
]


@pytest.mark.parametrize(("options", "expected"), WRONG, ids=str)
def test_what_does_not_fit_together(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(expected)):
        DepthOptions.parse(options)


def test_defaults_of_a_form_do_not_matter(client: FlaskClient) -> None:
    form: dict[str, Any] = {
        "normalize": "minmax",
        "colormap": "gray",
        "stereo": "none",
        "focal_length": "",
    }
    assert ask(client, unit="metres", format="npy", **form).status_code == 200
    again = ask(client, unit="metres", format="npy", normalize="none")
    np.testing.assert_array_equal(numbers(again), numbers(ask(client, unit="metres", format="npy")))


class Told:
    """Replaces two methods of the family; keeps the focal length that ``metres`` was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, estimate: float | None = None) -> None:
        self.focal_length: float | None = None

        def metres(_: Any, output: FloatArray, focal_length: float | None) -> FloatArray:
            self.focal_length = focal_length
            if focal_length is None:
                raise BadRequest("Send focal_length")
            return output

        monkeypatch.setattr(DepthAnything, "metres", metres)
        monkeypatch.setattr(DepthAnything, "focal_length", lambda *_: estimate)


def test_the_focal_length_reaches_the_model(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    scale = INPUT_WIDTH / WIDTH
    by_exif = 26 * math.hypot(WIDTH, HEIGHT) / math.hypot(36, 24)
    for photo, form, expected in (
        (with_focal_length(26), {}, by_exif),
        (with_focal_length(26), {"focal_length": 300}, 300),
        (PHOTO, {"focal_length": "250.5"}, 250.5),
    ):
        response = ask(client, photo, unit="metres", format="npy", **form)
        assert response.status_code == 200, response.text
        assert told.focal_length == pytest.approx(expected * scale)
        assert float(response.headers["X-Focal-Length-Px"]) == pytest.approx(expected, rel=1e-5)
        degrees = 2 * math.degrees(math.atan(WIDTH / 2 / expected))
        assert float(response.headers["X-Field-Of-View"]) == pytest.approx(degrees, rel=1e-5)
    assert refusal(ask(client, unit="metres", format="npy"), "Bad request") == "Send focal_length"


def test_an_estimate_counts_before_exif_but_not_before_the_client(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch, estimate=420)
    photo = with_focal_length(26)
    response = ask(client, photo, unit="metres", format="npy")
    assert told.focal_length == pytest.approx(420)
    assert float(response.headers["X-Focal-Length-Px"]) == pytest.approx(420 * WIDTH / INPUT_WIDTH)
    ask(client, photo, unit="metres", format="npy", focal_length=300)
    assert told.focal_length == pytest.approx(300 * INPUT_WIDTH / WIDTH)
    monkeypatch.setattr(DepthAnything, "disparity", lambda _, output: output)
    assert float(ask(client).headers["X-Focal-Length-Px"]) == pytest.approx(400)


def test_without_an_estimate_a_relative_map_says_nothing_of_the_camera(client: FlaskClient) -> None:
    assert "X-Focal-Length-Px" not in ask(client, with_focal_length(26)).headers


def test_lists_say_which_models_give_metres(client: FlaskClient) -> None:
    listed = client.get("/api/models?type=all").get_json()["models"]
    metric = {model["key"]: model["metric"] for model in listed}
    assert metric["metric"] is True, "from its checkpoint"
    assert metric["metric-outdoor-large"] is True, "from its row"
    assert metric["small"] is metric["builtin-depth"] is False
    assert metric["builtin-clip"] is None
    assert client.get("/api/models/metric").get_json()["metric"] is True


def test_a_row_that_says_otherwise(tmp_path: Path) -> None:
    folder = metric_checkpoint(tmp_path / "checkpoint")
    spec = ModelSpec(key="a", family="depth_anything", path=folder, metric=False)
    with pytest.raises(LoadError, match="has metric True, the table of models False"):
        describe_checkpoint(spec, Checkpoint(folder, "main", folder))


@pytest.mark.parametrize("size", [(37, 91), (200, 150), (7, 5), (1, 1)])
def test_metres_are_resized_linearly_and_never_overshoot(size: tuple[int, int]) -> None:
    given = np.random.default_rng(1).uniform(0.3, 80, (40, 30)).astype(np.float32)
    given[:, 15:] = 80
    found = maps.metres(given, size)
    assert found.shape == size[::-1]
    assert given.min() <= found.min() <= found.max() <= given.max()
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(given)[None, None], size[::-1], mode="bilinear"
    )
    np.testing.assert_allclose(found, expected[0, 0], rtol=1e-4)
    with pytest.raises(ArithmeticError):
        maps.metres(np.array([[1, np.inf]], np.float32), size)


def test_a_large_tiff_is_a_file_that_others_read() -> None:
    values = np.random.default_rng(2).standard_normal((1500, 2000)).astype(np.float32)
    file = formats.encode(values, DepthOptions(format="tiff"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), values)


def scene(client: FlaskClient, photo: bytes = PHOTO, **form: Any) -> Any:
    fields = {"image": (io.BytesIO(photo), "a.jpg"), **{k: str(v) for k, v in form.items()}}
    response = client.post("/api/splat", data=fields, content_type="multipart/form-data")
    assert response.status_code == 200, response.text
    return response


def test_a_scene_of_a_metric_model_is_in_metres(client: FlaskClient) -> None:
    metres = numbers(ask(client, unit="metres", format="npy"))
    response = scene(client)
    assert response.headers["X-Depth-Unit"] == "metres"
    depth = ply.read(response.data)["z"]
    assert depth.min() == pytest.approx(metres.min(), rel=0.05)
    assert depth.max() == pytest.approx(metres.max(), rel=0.05)
    middle = float(np.median(metres))
    clipped = ply.read(scene(client, depth_range=f"{middle},{middle * 1.1}").data)["z"]
    assert clipped.min() == pytest.approx(middle, rel=0.05)
    assert clipped.max() < middle * 1.15


def test_the_camera_of_a_scene(client: FlaskClient) -> None:
    """What the client says counts before what the photo says, and that before a guess."""
    guessed = scene(client).headers["X-Field-Of-View"]
    assert float(guessed) == pytest.approx(60)
    photo = with_focal_length(26)
    known = scene(client, photo)
    pixels = 26 * math.hypot(WIDTH, HEIGHT) / math.hypot(36, 24)
    assert float(known.headers["X-Focal-Length-Px"]) == pytest.approx(pixels, rel=1e-4)
    assert float(scene(client, photo, fov=30).headers["X-Field-Of-View"]) == 30
