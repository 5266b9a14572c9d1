# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the routes in this process: status codes, bodies and headers."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from app.blueprints.application import create_app
from app.blueprints.depth import attachment
from app.rendering.options import DepthOptions
from app.runtime import Runtime
from config.settings import Settings
from tests.pictures import encoded, picture, rotated_jpeg


@contextmanager
def running(settings: Settings) -> Iterator[Flask]:
    runtime = Runtime(settings)
    runtime.start()
    try:
        yield create_app(runtime.settings, runtime)
    finally:
        runtime.close()


@pytest.fixture(scope="module")
def app(hub: Path) -> Iterator[Flask]:
    """Yield the app for pytest-flask's ``client``; tests that do not change it share this one."""
    with running(Settings(hf_hub_cache=hub, hf_hub_offline=True)) as app:
        yield app


@pytest.fixture
def fresh(settings: Settings) -> Iterator[Flask]:
    """Yield an app for one test only, with no model loaded."""
    with running(settings) as app:
        yield app


def upload(
    client: FlaskClient, path: str, data: bytes, name: str = "photo.jpg", **form: str
) -> Any:
    fields: dict[str, Any] = {"image": (io.BytesIO(data), name), **form}
    return client.post(path, data=fields, content_type="multipart/form-data")


def assert_error(response: TestResponse, status: int, title: str | None = None) -> str:
    assert response.status_code == status
    body = response.get_json()
    assert set(body) == {"error", "message", "detail", "code"}
    assert body["message"] == body["detail"]
    if title is not None:
        assert body["error"] == title
    return str(body["message"])


def test_a_photo_becomes_a_map_of_its_upright_size(client: FlaskClient) -> None:
    response = upload(client, "/api/depth", rotated_jpeg(picture(400, 300)), "IMG 1.x.jpeg")
    assert response.status_code == 200
    assert response.mimetype == "image/png"
    assert response.headers["Content-Disposition"] == 'attachment; filename="depth_IMG 1.x.png"'
    assert response.headers["X-Model-Used"] == "small"
    assert response.headers["X-Model-Weights"] == "random"
    image = Image.open(io.BytesIO(response.data))
    assert (image.mode, image.size) == ("L", (300, 400))
    values = np.asarray(image)
    assert (values.min(), values.max()) == (0, 255)


def test_the_model_of_a_request(client: FlaskClient) -> None:
    data = encoded(picture(200, 150))
    maps = {key: upload(client, f"/api/depth?model={key}", data) for key in ("small", "large")}
    assert [maps[key].headers["X-Model-Used"] for key in maps] == ["small", "large"]
    assert maps["small"].data != maps["large"].data
    message = assert_error(upload(client, "/api/depth?model=huge", data), 400, "Unknown model")
    assert "small, base, large" in message


def test_the_model_may_be_a_field_of_the_form(client: FlaskClient) -> None:
    data = encoded(picture(60, 40, 1))
    chosen = upload(client, "/api/depth", data, model="large")
    assert chosen.headers["X-Model-Used"] == "large"
    assert chosen.data == upload(client, "/api/depth?model=large", data).data
    assert upload(client, "/api/depth", data, model="").headers["X-Model-Used"] == "small"
    # As with every option, the form counts where the query has another value.
    both = upload(client, "/api/depth?model=small", data, model="large")
    assert both.headers["X-Model-Used"] == "large"
    empty = upload(client, "/api/depth?model=large", data, model="")
    assert empty.headers["X-Model-Used"] == "large", "an empty field counts as not given"
    assert_error(upload(client, "/api/depth", data, model="huge"), 400, "Unknown model")
    assert_error(upload(client, "/api/depth", data, model="ViT-L-14"), 400, "Unknown model")


def test_no_image(client: FlaskClient) -> None:
    expected = "Please upload an image file with key 'image'"
    for response in (
        client.post("/api/depth"),
        client.post("/api/depth", json={"image": "x"}),
        client.post("/api/depth", data=b"\xff\xd8", content_type="image/jpeg"),
        client.post("/api/depth", data={"image": "text"}, content_type="multipart/form-data"),
        upload(client, "/api/depth", b"x", name=""),
    ):
        assert assert_error(response, 400, "No image provided") == expected


def test_not_an_image(client: FlaskClient) -> None:
    assert_error(upload(client, "/api/depth", b"not an image"), 400, "Invalid image")
    assert_error(upload(client, "/embed-image", b"not an image"), 400, "Invalid image")


def test_embedding_through_base64_and_multipart_is_the_same(client: FlaskClient) -> None:
    data = encoded(picture(300, 200))
    text = base64.b64encode(data).decode()
    answers = [
        client.post("/embed-image", json={"image_base64": text}),
        client.post("/embed-image", json={"image_base64": f"data:image/png;base64,{text}"}),
        upload(client, "/embed-image", data),
    ]
    for response in answers:
        assert response.status_code == 200
        body = response.get_json()
        assert body == answers[0].get_json()
        assert (body["dims"], body["model"], body["image_size"]) == (768, "ViT-L-14", 224)
        assert body["provider"] == "local"
        assert body["weights"] == response.headers["X-Model-Weights"] == "random"
        assert len(body["embedding"]) == 768
        assert np.linalg.norm(body["embedding"]) == pytest.approx(1, abs=1e-5)
        assert response.headers["X-Queue-Concurrency"] == "1"


def test_embedding_options(client: FlaskClient) -> None:
    data = encoded(picture(300, 200))
    form = upload(
        client, "/embed-image", data, model="ViT-B-16", normalize="false", image_size="512"
    )
    body = form.get_json()
    assert (body["dims"], body["model"], body["image_size"]) == (512, "ViT-B-16", 512)
    assert np.linalg.norm(body["embedding"]) != pytest.approx(1, abs=1e-2)
    message = assert_error(upload(client, "/embed-image", data, model="RN50"), 400, "Unknown model")
    assert "ViT-L-14, ViT-B-16" in message


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"image_base64": "AAAA", "image_url": "http://example.org/a.png"}, 400),
        ({"image_url": "http://example.org/a.png"}, 400),
        ({"image_base64": "%%%"}, 400),
        ({"image_base64": ""}, 400),
        ({"image_base64": "data:image/png,abc"}, 400),
        ({"image_base64": 5}, 422),
        ({"image_base64": "AAAA", "image_size": 0}, 422),
        ({"image_base64": "AAAA", "image_size": 5000}, 422),
        ({"image_base64": "AAAA", "normalize": "perhaps"}, 422),
        ([], 422),
    ],
)
def test_wrong_embedding_requests(client: FlaskClient, body: object, status: int) -> None:
    assert_error(client.post("/embed-image", json=body), status)


def test_wrong_content_types(client: FlaskClient) -> None:
    assert_error(client.post("/embed-image", data="{}", content_type="text/plain"), 415)
    assert "form" in assert_error(client.post("/embed-image"), 415)
    assert "form" not in assert_error(client.post("/embed-batch"), 415), "it takes JSON only"
    assert_error(client.post("/embed-image", data="{", content_type="application/json"), 422)


def test_budgets_are_named(fresh: Flask) -> None:
    runtime, client = fresh.extensions["twinlens"], fresh.test_client()
    runtime.settings = runtime.settings.model_copy(update={"max_image_bytes": 1000})
    too_big = assert_error(upload(client, "/embed-image", bytes(1001)), 413)
    assert "1001 bytes; at most 1000" in too_big
    runtime.settings = runtime.settings.model_copy(update={"max_upload_bytes": 1000})
    small = create_app(runtime.settings, runtime)
    response = upload(small.test_client(), "/api/depth", bytes(2000))
    assert "MAX_UPLOAD_BYTES" in assert_error(response, 413)


def test_errors_of_flask_have_our_body_and_an_id(client: FlaskClient) -> None:
    assert_error(client.get("/nothing"), 404)
    response = client.get("/api/depth")
    assert_error(response, 405)
    assert "POST" in response.headers["Allow"]
    assert len(response.headers["X-Request-ID"]) == 32


def test_a_sane_request_id_is_kept(client: FlaskClient) -> None:
    def answer(given: str) -> str:
        return client.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert answer("abc-1.2_3") == "abc-1.2_3"
    assert answer("a b") != "a b"
    assert answer("x" * 200) != "x" * 200


def test_a_defect_of_ours_tells_nothing(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret path /srv/app")

    monkeypatch.setattr(app.extensions["twinlens"].depth, "run", broken)
    response = upload(client, "/api/depth", encoded(picture(20, 20)))
    assert "secret" not in assert_error(response, 500, "Processing failed")


def test_index_and_models(client: FlaskClient) -> None:
    index = client.get("/").get_json()
    assert index["message"] == "ImmichVR AI Service"
    assert index["endpoints"]["process_depth"] == "/api/depth (POST)"
    models = client.get("/models").get_json()["models"]
    found = [(model["id"], model["dims"]) for model in models]
    assert found[:2] == [("ViT-L-14", 768), ("ViT-B-16", 512)]
    assert found[-1] == ("builtin-clip", 128)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("smal", "small"), ("SMALL", "small"), ("da3base", "da3-base"), ("xyz", None)],
)
def test_an_unknown_model_is_answered_with_the_near_one_and_all(
    client: FlaskClient, wanted: str, meant: str | None
) -> None:
    answer = upload(client, f"/api/depth?model={wanted}", encoded(picture(50, 50)))
    assert answer.status_code == 400
    message = answer.get_json()["message"]
    hint = f" (did you mean {meant}?)" if meant else ""
    assert message.startswith(f"Unknown model '{wanted}'{hint}; known: small, base, large, ")
    assert "builtin-depth" in message


def test_ready_follows_the_default_model(fresh: Flask) -> None:
    client = fresh.test_client()
    before = client.get("/ready")
    assert before.status_code == 503
    assert before.get_json()["default_model_loaded"] is False
    assert before.get_json()["reason"] == "ViT-L-14 is not loaded"
    upload(client, "/embed-image", encoded(picture(50, 50)))
    after = client.get("/ready")
    assert after.status_code == 200
    assert after.get_json()["ready"] is True


def test_a_page_of_any_origin_may_embed(settings: Settings) -> None:
    """A page of any origin may post JSON, before which a browser sends a preflight request."""
    page = {"Origin": "http://localhost:3000"}
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    text = base64.b64encode(encoded(picture(50, 50))).decode()
    with running(settings.model_copy(update={"cors_allowed_origins": ("*",)})) as app:
        client = app.test_client()
        preflight = client.options("/embed-image", headers=page | asks)
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
        answer = client.post("/embed-image", json={"image_base64": text}, headers=page)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", 'attachment; filename="depth_a.png"'),
        ("a", 'attachment; filename="depth_a.png"'),
        (r"C:\photos\b.tar.gz", 'attachment; filename="depth_b.tar.png"'),
        ("../../etc/passwd", 'attachment; filename="depth_passwd.png"'),
        (
            'q"uote.png',
            "attachment; filename=\"depth_q_uote.png\"; filename*=UTF-8''depth_q%22uote.png",
        ),
        (
            "Grüße.png",
            "attachment; filename=\"depth_Gr__e.png\"; filename*=UTF-8''depth_Gr%C3%BC%C3%9Fe.png",
        ),
        ("a\r\nX-Evil: 1.png", 'attachment; filename="depth_aX-Evil: 1.png"'),
    ],
)
def test_file_names(name: str, expected: str) -> None:
    assert attachment(name, DepthOptions()) == expected
