# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares the probabilities of /classify with those of open_clip and transformers."""

from __future__ import annotations

import base64
import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from app.blueprints.application import create_app
from app.engines.base import LoadError
from app.models import logits
from app.models.logits import Logits
from app.runtime import Runtime
from app.tasks.zero_shot import label_vectors, probabilities
from config.settings import Settings
from tests.open_clip_checkpoints import write
from tests.pictures import encoded, picture
from tests.transformers_checkpoints import make
from tests.unit.test_open_clip_families import clip, siglip_2
from tests.unit.test_transformers_embedding import Both

PHOTO = encoded(picture(90, 60, 5))
LABELS = ["cat", "photo", "a dog at night"]
TEMPLATES = ["a photo of a {}", "the {}, in the dark"]
Reference = Callable[[list[str]], Any]


def of_open_clip(maker: Any, folder: Path) -> Reference:
    """Write a checkpoint; return a function that gives the logits of ``PHOTO`` with texts."""
    architecture, preparation = maker(folder)
    write(folder, architecture, preparation)
    network, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")

    def answer(texts: list[str]) -> Any:
        transform: Any = prepare
        pixels = transform(Image.open(io.BytesIO(PHOTO)).convert("RGB"))[None]
        with torch.inference_mode():
            found: Any = network.eval().get_logits(pixels, tokenizer(texts))
        return found[0][0].numpy()

    return answer


def of_transformers(name: str, folder: Path) -> Reference:
    both = Both(name, make(name, folder))
    tensors = load_file(folder / "model.safetensors")
    tensors["logit_scale"] = tensors["logit_scale"] * 0 + 3.7  # a random one would be near 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    def answer(texts: list[str]) -> Any:
        network: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        pixels = both.processor(Image.open(io.BytesIO(PHOTO)), return_tensors="pt").pixel_values
        with torch.inference_mode():
            found = network(**both.tokens(texts), pixel_values=pixels)
        return found.logits_per_image[0].numpy()

    return answer


MODELS: dict[str, tuple[str, Callable[[Path], Reference], str]] = {
    "open-clip": ("open_clip", lambda folder: of_open_clip(clip, folder), "softmax"),
    "open-siglip": ("open_clip", lambda folder: of_open_clip(siglip_2, folder), "sigmoid"),
    "clip": ("transformers", lambda folder: of_transformers("clip", folder), "softmax"),
    "siglip": ("transformers", lambda folder: of_transformers("siglip 2", folder), "sigmoid"),
}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reference]:
    made = {}
    for key, (_, maker, _) in MODELS.items():
        folder = tmp_path_factory.getbasetemp() / f"zero-shot-{key}"
        folder.mkdir()
        made[key] = maker(folder)
    return made


@pytest.fixture(scope="module")
def app(
    references: dict[str, Reference], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """Yield the app with rows for the checkpoints, for pytest-flask's ``client``."""
    table = tmp_path_factory.mktemp("rows") / "models.toml"
    base = tmp_path_factory.getbasetemp()
    rows = [
        f'[[model]]\nkey = "{key}"\nfamily = "{MODELS[key][0]}"\npath = "{base}/zero-shot-{key}"\n'
        + ('activation = "gelu"\n' if key == "open-clip" else "")
        for key in references
    ]
    table.write_text("\n".join(rows))
    settings = Settings(
        hf_hub_cache=table.parent,
        hf_hub_offline=True,
        models_file=table,
        engine="torch",
        precision="fp32",
        default_model="open-clip",
        enabled_families=("embedding",),
    )
    runtime = Runtime(settings)
    runtime.start()
    yield create_app(settings, runtime)
    runtime.close()


def function(name: str, values: Any) -> Any:
    tensor = torch.from_numpy(np.asarray(values, np.float64))
    return (tensor.softmax(0) if name == "softmax" else tensor.sigmoid()).numpy()


@pytest.mark.parametrize("key", MODELS)
def test_labels_as_the_library_finds_them(
    client: FlaskClient, references: dict[str, Reference], key: str
) -> None:
    expected = function(MODELS[key][2], references[key](LABELS))
    body = {"image_base64": base64.b64encode(PHOTO).decode(), "labels": LABELS, "model": key}
    found: Any = client.post("/classify", json=body).get_json()
    assert found["function"] == MODELS[key][2]
    assert [each["label"] for each in found["results"]] == LABELS
    chances = [each["probability"] for each in found["results"]]
    np.testing.assert_allclose(chances, expected, rtol=2e-3)
    assert found["best"] == LABELS[int(np.argmax(expected))]
    # With one template the label is one text; a form may send it as well.
    file = {"image": (io.BytesIO(PHOTO), "a.png"), "templates": TEMPLATES[0], "model": key}
    form = client.post("/classify", data=file | {"labels": LABELS})
    expected = function(
        MODELS[key][2], references[key]([TEMPLATES[0].format(label) for label in LABELS])
    )
    answered: Any = form.get_json()
    chances = [each["probability"] for each in answered["results"]]
    np.testing.assert_allclose(chances, expected, rtol=2e-3)


def test_the_numbers_are_read_once_until_the_file_changes(
    client: FlaskClient, references: dict[str, Reference], tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = {"image_base64": base64.b64encode(PHOTO).decode(), "labels": LABELS, "model": "siglip"}

    def scale() -> float:
        answer: Any = client.post("/classify", json=body).get_json()
        return float(answer["logit_scale"])

    first = scale()
    known = logits._read.cache_info().misses
    assert scale() == first
    assert logits._read.cache_info().misses == known
    file = tmp_path_factory.getbasetemp() / "zero-shot-siglip" / "model.safetensors"
    tensors = load_file(file)
    changed = tensors | {"logit_scale": tensors["logit_scale"] + 0.5}
    for state, expected in ((changed, first * np.exp(0.5)), (tensors, first)):
        # As a download would: the network may still have the old file in memory.
        save_file(state, file.with_name("new"), {"format": "pt"})
        file.with_name("new").replace(file)
        assert scale() == pytest.approx(expected, rel=1e-4)


def test_several_templates_are_averaged(
    client: FlaskClient, references: dict[str, Reference]
) -> None:
    def post(path: str, **body: Any) -> Any:
        return client.post(path, json={"model": "open-clip", **body}).get_json()

    image = {"image_base64": base64.b64encode(PHOTO).decode()}
    found = post("/classify", **image, labels=LABELS, templates=TEMPLATES)
    texts = [template.format(label) for label in LABELS for template in TEMPLATES]
    rows = np.array([each["embedding"] for each in post("/embed-text", texts=texts)["results"]])
    means = rows.reshape(len(LABELS), len(TEMPLATES), -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ np.array(post("/embed-image", **image)["embedding"])
    shown = [each["similarity"] for each in found["results"]]
    np.testing.assert_allclose(shown, cosines, atol=1e-5)
    expected = function("softmax", cosines * found["logit_scale"])
    np.testing.assert_allclose(
        [each["probability"] for each in found["results"]], expected, rtol=1e-3
    )
    # The logits of the library for the same texts say how large the factor is.
    alone = references["open-clip"](texts)
    np.testing.assert_allclose(
        alone, rows @ post("/embed-image", **image)["embedding"] * found["logit_scale"], atol=1e-3
    )


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"labels": []}, 422, "labels"),
        ({"labels": ["a", " "]}, 400, "labels[1]: the text is blank"),
        ({"labels": ["a", "b" * 5000]}, 413, "labels[1]: The text has 5000 characters"),
        ({"templates": ["a photo"]}, 400, "templates[0]: it has no {}"),
        ({"labels": ["a"] * 11, "templates": ["{}"] * 3}, 413, "33 items"),
        ({"image_base64": "!"}, 400, "not base64"),
        ({"image_base64": "aGk="}, 400, "image: "),
        ({"multi_label": True}, 422, "multi_label"),
        ({"image_url": "https://example.org/a.jpg"}, 400, "exactly one of image_url"),
        ({"model": "dinov2-base"}, 503, "dinov2-base"),
        ({"model": "nothing"}, 400, "nothing"),
    ],
)
def test_what_is_refused(
    client: FlaskClient, change: dict[str, Any], status: int, message: str
) -> None:
    body = {"image_base64": base64.b64encode(PHOTO).decode(), "labels": ["a", "b"]}
    answer = client.post("/classify", json=body | change)
    assert answer.status_code == status
    assert message in answer.get_json()["message"]


LONG_TEXTS: list[tuple[dict[str, Any], str]] = [
    ({"labels": ["b" * 400_000], "templates": ["{}" * 40_000]}, "labels[0]: The text has 400000 "),
    ({"labels": ["cat"], "templates": ["{}" * 40_000]}, "templates[0]: The text has 80000 "),
    # Both are short enough, but the filled text is not: 8 MB.
    (
        {"labels": ["a", "b" * 4096], "templates": ["{}", "{}" * 2048]},
        "labels[1] in templates[1]: The text has 8388608 ",
    ),
    ({"labels": ["b" * 4096], "templates": ["a {}"]}, "labels[0]: The text has 4098 "),
]


@pytest.mark.parametrize(("texts", "message"), LONG_TEXTS)
@pytest.mark.parametrize("kind", ["form", "json"])
def test_long_texts_are_refused_before_they_are_put_together(
    client: FlaskClient, kind: str, texts: dict[str, Any], message: str
) -> None:
    tracemalloc.start()
    try:
        if kind == "form":
            image = {"image": (io.BytesIO(PHOTO), "a.png")}
            answer = client.post("/classify", data=image | texts)
        else:
            image_text = base64.b64encode(PHOTO).decode()
            answer = client.post("/classify", json={"image_base64": image_text} | texts)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 413
    error = answer.get_json()
    assert message in error["message"]
    assert error["code"] == "text_too_long"
    assert most < 8_000_000


def test_the_longest_texts_are_accepted(client: FlaskClient) -> None:
    texts: dict[str, Any] = {"labels": ["b" * 2048, "c"], "templates": ["{}{}"]}
    image = {"image": (io.BytesIO(PHOTO), "a.png")}
    assert client.post("/classify", data=image | texts).status_code == 200


@pytest.mark.parametrize(("labels", "templates"), [(32, 0), (32, 1), (1, 32)])
def test_a_form_may_have_as_many_labels_as_json(
    client: FlaskClient, labels: int, templates: int
) -> None:
    texts = {
        "labels": [f"label {number}" for number in range(labels)],
        "templates": [f"{number} {{}}" for number in range(templates)] or "",
    }
    image = {"image": (io.BytesIO(PHOTO), "a.png"), "model": "open-clip", "image_url": ""}
    answer = client.post("/classify", data=image | texts)
    assert answer.status_code == 200
    assert len(answer.get_json()["results"]) == labels


def test_a_form_with_a_label_too_many(client: FlaskClient) -> None:
    file = (io.BytesIO(PHOTO), "a.png")
    answer = client.post("/classify", data={"image": file, "labels": ["a"] * 33})
    assert answer.status_code == 413
    assert "EMBED_BATCH_API_MAX_ITEMS" in answer.get_json()["message"]
    file = (io.BytesIO(PHOTO), "a.png")
    answer = client.post("/classify", data={"image": file, "labels": ["a"] * 52})
    assert answer.status_code == 413
    assert "more than 52 parts" in answer.get_json()["message"]


def test_a_checkpoint_without_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"visual.x": torch.zeros(3)}, file)
    assert logits.read(file) is None
    file.write_bytes(b"\0\0")
    with pytest.raises(LoadError, match="damaged"):
        logits.read(file)
    save_file({"logit_scale": torch.tensor(float("nan"))}, file)
    with pytest.raises(LoadError, match="no number"):
        logits.read(file)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_numbers_of_every_type(tmp_path: Path, kind: torch.dtype) -> None:
    numbers = {
        "logit_scale": torch.tensor(3.0, dtype=kind),
        "visual.x": torch.zeros(9, dtype=kind),
        "logit_bias": torch.tensor([-10.5], dtype=kind),
    }
    save_file(numbers, tmp_path / "a.safetensors")
    torch.save(numbers, tmp_path / "a.bin")
    expected = Logits(float(np.exp(3.0)), -10.5)
    assert logits.read(tmp_path / "a.safetensors") == expected
    assert logits.read(tmp_path / "a.bin") == expected


def test_large_logits_do_not_overflow() -> None:
    cosines = np.array([1, -1], np.float32)
    assert probabilities(cosines, Logits(1e4, None)).tolist() == [1, 0]
    assert probabilities(cosines, Logits(1e4, 0.0)).tolist() == [1, 0]


def test_texts_that_cancel_out_are_an_error() -> None:
    with pytest.raises(ArithmeticError):
        label_vectors([np.array([1, 0], np.float32), np.array([-1, 0], np.float32)], 2)
