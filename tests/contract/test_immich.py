# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what docs/recipes/immich.md says, with requests as Immich's server builds them."""

from __future__ import annotations

import http.client
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from benchmarks.service import Service
from tests.contract import check
from tests.open_clip_checkpoints import write
from tests.pictures import encoded, picture
from tests.services import PHOTO
from tests.stand_in import ANSWER, FACES, OCR, StandIn, form, search
from tests.unit.test_open_clip_families import convnext, siglip_2

SIGLIP, NLLB = "ViT-B-16-SigLIP2__webli", "nllb-clip-base-siglip__v1"
WIDE = encoded(picture(240, 90, 3))


@dataclass
class Front:
    """A service in front of a stand-in, with the folders of its tiny checkpoints."""

    service: Service
    other: StandIn
    folders: dict[str, Path]

    def predict(self, entries: object, **payload: Any) -> Any:
        return self.service.post("/predict", **form(entries, **payload))


@pytest.fixture(scope="module")
def front(
    start: Callable[..., Service], hub: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("immich")
    rows, folders = [], {}
    for key, make in {SIGLIP: siglip_2, NLLB: convnext}.items():
        folders[key] = folder / key
        folders[key].mkdir()
        architecture, preparation = make(folders[key])
        write(folders[key], architecture, preparation)
        rows.append(f'[[model]]\nkey = "{key}"\nfamily = "open_clip"\npath = "{folders[key]}"\n')
    table = folder / "models.toml"
    table.write_text("\n".join(rows))
    with StandIn() as other:
        service = start(
            HF_HUB_CACHE=hub,
            MODELS_FILE=table,
            IMMICH_ML_URL=f"{other.url}/",
            WARMUP_ON_STARTUP="false",
            ENGINE="torch",
            PRECISION="fp32",
        )
        yield Front(service, other, folders)
        other.shutdown()


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "front" in request.fixturenames:
        found = request.getfixturevalue("front")
        found.other.received.clear()
        found.other.status, found.other.answer = 200, ANSWER


def vector(answer: Any) -> Any:
    """Return the vector of an answer, which Immich stores as the text that it is."""
    text = check.json(answer)["clip"]
    assert isinstance(text, str)
    found = np.array(json.loads(text), np.float32)
    assert abs(np.linalg.norm(found) - 1) < 1e-5
    return found


def normalised(found: torch.Tensor) -> Any:
    row = found[0].numpy()
    return row / np.linalg.norm(row)


@pytest.mark.parametrize("key", [SIGLIP, NLLB])
def test_pictures_as_open_clip_embeds_them(front: Front, key: str) -> None:
    network, preparation = open_clip.create_model_from_pretrained(f"local-dir:{front.folders[key]}")
    answer = front.predict(search("visual", key), image=WIDE)
    body = check.json(answer)
    assert (body["imageHeight"], body["imageWidth"]) == (90, 240)
    with torch.inference_mode():
        pixels: Any = preparation(Image.open(io.BytesIO(WIDE)).convert("RGB"))
        expected = network.eval().encode_image(pixels[None])
    assert vector(answer) @ normalised(expected) > 0.9999
    assert answer.headers["X-Queue-Concurrency"] == "1"
    assert front.other.received == []


@pytest.mark.parametrize(
    ("key", "text", "language"),
    [
        (SIGLIP, "A Dog, on_a  Beach!", "de"),
        (NLLB, "a photo of a dog", None),
        (NLLB, "a photo of a dog", "en"),
        (NLLB, "une photo d'un chien", "fr"),
        (NLLB, "a photo of a dog", "xx"),
    ],
)
def test_texts_as_open_clip_embeds_them(
    front: Front, tmp_path: Path, key: str, text: str, language: str | None
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(front.folders[key], folder)
    if language == "fr":  # this makes open_clip begin texts with the language, too
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"src_lang": "fra_Latn"}))
    network, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")([text])
    with torch.inference_mode():
        expected = normalised(network.eval().encode_text(ids))
    # Immich leaves a language that it does not know out of the JSON.
    options = {} if language is None else {"language": language}
    answer = front.predict(search("textual", key, **options), text=text)
    assert set(check.json(answer)) == {"clip"}
    assert vector(answer) @ expected > 0.9999
    plain = front.predict(search("textual", key), text=text)
    assert (plain.content == answer.content) == (language != "fr")


@pytest.mark.parametrize(
    "name",
    [
        "ViT-L-14__openai",
        "ViT-L-14::openai",
        "vit-l-14__OpenAI",
        "timm/vit_large_patch14_clip_224.openai",
    ],
)
def test_names_of_immich_lead_to_rows_of_the_table(service: Service, name: str) -> None:
    answer = service.post("/predict", **form(search("visual", name), image=PHOTO))
    ours = check.json(service.post("/embed-image", files={"image": ("a.png", PHOTO)}))
    assert vector(answer) @ np.array(ours["embedding"]) > 0.9999
    text = service.post("/predict", **form(search("textual", name, language="de"), text="a cat"))
    ours = check.json(service.post("/embed-text", json={"text": "a cat"}))
    assert vector(text) @ np.array(ours["embedding"]) > 0.9999


@pytest.mark.parametrize("entries", [FACES, OCR, FACES | OCR, search("visual", "RN50__cc12m")])
def test_what_is_not_ours_is_passed_on(front: Front, entries: dict[str, Any]) -> None:
    answer = front.predict(entries, image=PHOTO)
    assert (answer.status_code, answer.content) == (200, ANSWER)
    (received,) = front.other.received
    assert json.loads(received.fields["entries"]) == entries
    assert received.files == {"image": PHOTO}


def test_a_text_for_a_model_that_is_not_ours(front: Front) -> None:
    entries = search("textual", "LABSE-Vit-L-14", language="de")
    assert front.predict(entries, text="ein Hund").content == ANSWER
    (received,) = front.other.received
    assert received.fields == {"entries": json.dumps(entries), "text": "ein Hund"}


def test_both_kinds_are_split_and_merged(front: Front) -> None:
    alone = check.json(front.predict(search("visual", SIGLIP), image=WIDE))
    both = check.json(front.predict(search("visual", SIGLIP) | FACES, image=WIDE))
    assert both == json.loads(ANSWER) | {"clip": alone["clip"]}
    (received,) = front.other.received
    assert json.loads(received.fields["entries"]) == FACES
    front.other.answer = b"[]"
    broken = front.predict(search("visual", SIGLIP) | FACES, image=WIDE)
    assert "JSON" in check.error(broken, 502)


def test_a_bad_picture_fails_with_its_reason(front: Front) -> None:
    answer = front.predict(search("visual", SIGLIP), image=b"not an image")
    check.error(answer, 400, "Invalid image")


def test_the_other_side_fails(front: Front) -> None:
    front.other.status, front.other.answer = 500, b"out of memory"
    message = check.error(front.predict(FACES, image=PHOTO), 502, "Passing on failed")
    assert "IMMICH_ML_URL" in message
    assert "answered 500: out of memory" in message


def test_immich_hangs_up_while_the_other_side_works(front: Front) -> None:
    request = form({"ocr": {"detection": {"modelName": "slow"}}}, image=PHOTO)
    connection = http.client.HTTPConnection("127.0.0.1", front.service.embedder_port, timeout=240)
    connection.request("POST", "/predict", request["data"], request["headers"])
    assert front.other.waiting.wait(60)
    connection.close()
    assert front.other.hung_up.wait(60)


def test_a_service_that_leads_to_itself(front: Front) -> None:
    request = form(FACES, image=PHOTO)
    request["headers"]["X-Twinlens-Passed-On"] = "1"
    assert "leads back" in check.error(front.service.post("/predict", **request), 400)


def test_ping(service: Service) -> None:
    answer = service.get("/ping")
    assert (answer.status_code, answer.text) == (200, "pong")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("entries", "payload", "status", "message"),
    [
        (FACES, {"image": PHOTO}, 501, "facial-recognition, only clip; facial-recognition and ocr"),
        ({"clipp": FACES["facial-recognition"]}, {"image": PHOTO}, 400, "known: clip, which"),
        (search("visual", "ViT-L-14__openai"), {}, 400, "Either image or text must be provided"),
        (search("visual", "ViT-L-14__openai"), {"text": "a"}, 400, "needs `image`"),
        (search("textual", "ViT-L-14__openai"), {"image": PHOTO}, 400, "needs `text`"),
        (search("textual", "ViT-L-14__openai"), {"text": " "}, 400, "blank"),
        (
            search("visual", "ViT-B-16-SigLIP__webli"),
            {"image": PHOTO},
            400,
            "models add ViT-B-16-SigLIP__webli timm/ViT-B-16-SigLIP`",
        ),
        (search("visual", "M-CLIP/LABSE-Vit-L-14"), {"image": PHOTO}, 400, "set IMMICH_ML_URL"),
        # This row is in the table, but its weights are not on disk.
        (search("visual", "ViT-B-32__openai"), {"image": PHOTO}, 503, "clip-vit-base-patch32"),
        ("nothing", {"image": PHOTO}, 422, "Invalid request format."),
        ({}, {"image": PHOTO}, 422, "Invalid request format."),
        ({"clip": {}}, {"image": PHOTO}, 422, "Invalid request format."),
        ({"clip": {"visual": {}}}, {"image": PHOTO}, 422, "Invalid request format."),
        (search("pipeline", "ViT-L-14__openai"), {"image": PHOTO}, 422, "types visual and textual"),
        # Only one set of weights has this name, so that they need not be named.
        (search("visual", "ViT-B-16-SigLIP"), {"image": PHOTO}, 400, "timm/ViT-B-16-SigLIP`"),
    ],
)
def test_what_is_refused(
    service: Service, entries: object, payload: dict[str, Any], status: int, message: str
) -> None:
    answer = service.post("/predict", **form(entries, **payload))
    assert message in check.error(answer, status)


def test_no_form(service: Service) -> None:
    check.error(service.post("/predict", json={"entries": {}}), 422)
