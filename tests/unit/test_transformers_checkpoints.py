# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how checkpoints of the family ``transformers`` are read, found in caches, and refused."""

from __future__ import annotations

import io
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from flask.testing import FlaskClient
from safetensors.torch import load_file, save_file

from app.blueprints.application import create_app
from app.engines.base import LoadError, Unsupported
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import Checkpoint, find_checkpoint
from app.models import transformers_embedding, transformers_pictures
from app.models.base import describe_checkpoint
from app.models.transformers_embedding import Transformers
from app.pictures.canvas import HostImages
from app.runtime import Runtime
from config.models import ModelSpec
from config.settings import Settings
from tests.pictures import encoded, picture, upright
from tests.transformers_checkpoints import CASES, make, row

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """Checkpoints that the tests share, so no test may change them; see ``copy``."""
    names = ("clip", "clip by OpenAI", "siglip", "siglip 2", "chinese_clip", "altclip", "dinov2")
    folder = tmp_path_factory.mktemp("published")
    return {name: make(name, folder / name) for name in names}


@pytest.fixture
def copy(published: dict[str, Checkpoint], tmp_path: Path) -> Callable[[str], Checkpoint]:
    def copied(name: str) -> Checkpoint:
        shutil.copytree(published[name].path, tmp_path / "copy")
        return Checkpoint(tmp_path / "copy", "main", tmp_path / "copy")

    return copied


def described(checkpoint: Checkpoint, spec: ModelSpec | None = None) -> Any:
    return describe_checkpoint(spec or row(), checkpoint)


def change(checkpoint: Checkpoint, file: str, alter: Change) -> None:
    path = checkpoint.path / file
    found = json.loads(path.read_text())
    alter(found)
    path.write_text(json.dumps(found))


CONFIG, PICTURES, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer_config.json"
REFUSED: list[tuple[str, str, Change, str]] = [
    ("clip", CONFIG, lambda c: c.update(model_type="siglip2"), "NaFlex"),
    ("clip", CONFIG, lambda c: c.update(model_type="clipseg"), '"model_type": "clipseg"'),
    ("clip", CONFIG, lambda c: c.pop("model_type"), 'lacks "model_type"'),
    ("clip", CONFIG, lambda c: c.update(architectures=["CLIPForImageClassification"]), "archit"),
    ("clip", CONFIG, lambda c: c.update(quantization_config={"bits": 8}), "quantization_config"),
    ("clip", CONFIG, lambda c: c["vision_config"].update(image_size=48), "image_size 48"),
    ("clip", CONFIG, lambda c: c["vision_config"].update(image_size=[32, 48]), "square"),
    ("clip", CONFIG, lambda c: c["vision_config"].update(num_channels=4), "num_channels"),
    ("clip", CONFIG, lambda c: c.update(vision_config_dict={"image_size": 48}), "image_size 48"),
    ("siglip", CONFIG, lambda c: c["vision_config"].update(vision_use_head=False), "use_head"),
    ("siglip", CONFIG, lambda c: c["text_config"].update(projection_size=8), "texts 8"),
    ("dinov2", CONFIG, lambda c: c.update(patch_size=64), "less than one patch"),
    ("clip", PICTURES, lambda c: c.update(image_processor_type="ViTImageProcessor"), "ViTImage"),
    ("clip", PICTURES, lambda c: c.update(do_resize=False), "do_resize"),
    ("clip", PICTURES, lambda c: c.update(do_rescale=False), "do_rescale"),
    ("clip", PICTURES, lambda c: c.update(rescale_factor=1), "rescale_factor"),
    ("clip", PICTURES, lambda c: c.update(do_pad=True), "do_pad"),
    ("clip", PICTURES, lambda c: c.update(resample=0), "resample"),
    ("clip", PICTURES, lambda c: c.update(do_center_crop=False), "neither cropped"),
    ("clip", PICTURES, lambda c: c.update(crop_size={"height": 32, "width": 48}), "crop_size"),
    ("clip", PICTURES, lambda c: c.update(crop_size=48), "crop_size"),
    ("clip", PICTURES, lambda c: c.update(size={"height": 32, "width": 48}), '"size"'),
    ("clip", PICTURES, lambda c: c.update(size={"longest_edge": 32}), '"size"'),
    ("clip", PICTURES, lambda c: c.update(size={"shortest_edge": 32, "longest_edge": 64}), "size"),
    ("clip", PICTURES, lambda c: c.update(size="224"), '"size"'),
    ("clip", PICTURES, lambda c: c.update(image_mean=[0.5, 0.5]), "image_mean"),
    ("clip", PICTURES, lambda c: c.update(image_mean=0.5), "image_mean"),
    ("clip", PICTURES, lambda c: c.update(image_std=[0.5, 0, 0.5]), "image_std"),
    ("siglip", PICTURES, lambda c: c.update(size=32), "neither cropped"),
]


@pytest.mark.parametrize(("name", "file", "alter", "reason"), REFUSED)
def test_a_checkpoint_is_refused_by_name(
    copy: Callable[[str], Checkpoint], name: str, file: str, alter: Change, reason: str
) -> None:
    checkpoint = copy(name)
    described(checkpoint)
    change(checkpoint, file, alter)
    with pytest.raises(Unsupported, match=reason):
        described(checkpoint)


TEXTS_REFUSED: list[tuple[str, str, Change, str]] = [
    ("siglip", TOKENIZER, lambda c: c.update(tokenizer_class="T5Tokenizer"), "T5Tokenizer"),
    ("siglip", TOKENIZER, lambda c: c.pop("tokenizer_class"), "tokenizer_class"),
    ("siglip", TOKENIZER, lambda c: c.update(model_max_length=16), "model_max_length 16"),
    ("siglip 2", TOKENIZER, lambda c: c.update(padding_side="left"), "padding_side left"),
    ("siglip 2", TOKENIZER, lambda c: c.pop("padding_side"), "padding_side left"),
    ("clip", TOKENIZER, lambda c: c.update(truncation_side="middle"), "truncation_side"),
    ("siglip 2", TOKENIZER, lambda c: c.update(pad_token="<none>"), "lacks the token <none>"),
    ("siglip 2", "tokenizer.json", lambda c: c.update(post_processor=None), "begins and ends"),
    ("clip", "tokenizer.json", lambda c: c.update(post_processor=None), "begins and ends"),
    ("clip", CONFIG, lambda c: c["text_config"].update(eos_token_id=7), "its text network 7"),
    ("clip", CONFIG, lambda c: c["text_config"].update(vocab_size=500), "only 500 tokens"),
    ("altclip", CONFIG, lambda c: c["text_config"].update(vocab_size=9), "only 9 tokens"),
]


@pytest.mark.parametrize(("name", "file", "alter", "reason"), TEXTS_REFUSED)
def test_texts_that_would_be_wrong_are_refused_by_name(
    copy: Callable[[str], Checkpoint], name: str, file: str, alter: Change, reason: str
) -> None:
    checkpoint = copy(name)
    described(checkpoint).load_tokenizer()
    change(checkpoint, file, alter)
    family = described(checkpoint)
    with pytest.raises(LoadError, match=reason):
        family.load_tokenizer()
    family.source("image")  # pictures can still be embedded


LONG = "a photo of a cat. " * 20
SETTINGS: list[tuple[str, str, Change]] = [
    ("clip", "CLIPTokenizer", lambda c: c.update(truncation_side="left", model_max_length=77)),
    ("clip", "CLIPTokenizer", lambda c: c.update(model_max_length=16)),
    ("siglip 2", "Siglip2Tokenizer", lambda c: c.update(truncation_side="left")),
    ("siglip 2", "Siglip2Tokenizer", lambda c: c.pop("pad_token")),
    ("siglip 2", "Siglip2Tokenizer", lambda c: c.update(add_bos_token=True)),
]


@pytest.mark.parametrize(("name", "reference", "alter"), SETTINGS)
def test_settings_of_a_tokenizer_count(
    copy: Callable[[str], Checkpoint], name: str, reference: str, alter: Change
) -> None:
    checkpoint = copy(name)
    change(checkpoint, TOKENIZER, alter)
    tokenizer = getattr(transformers, reference).from_pretrained(checkpoint.path)
    family = described(checkpoint)
    for text in ("A cat", LONG):
        found = family.prepare_text(text)
        most = {"max_length": 64} if name == "siglip 2" else {}
        expected = tokenizer([text], truncation=True, padding="max_length", **most).input_ids[0]
        assert len(expected) == len(family.blank("text")[0])
        assert found.ids.tolist() == expected
        assert found.truncated == (text == LONG)


@pytest.mark.parametrize(
    ("name", "there", "reason"),
    [
        ("clip", (), r"lacks tokenizer.json \(or vocab.json and merges.txt\)$"),
        ("clip by OpenAI", ("vocab.json",), "lacks tokenizer.json"),
        ("chinese_clip", (), r"lacks tokenizer.json \(or vocab.txt\)$"),
        ("siglip", ("spiece.model",), "tokenizer.json; spiece.model alone is not supported"),
        ("altclip", ("sentencepiece.bpe.model",), "sentencepiece.bpe.model alone"),
    ],
)
def test_texts_say_what_is_missing(
    copy: Callable[[str], Checkpoint], name: str, there: tuple[str, ...], reason: str
) -> None:
    checkpoint = copy(name)
    for file in checkpoint.path.iterdir():
        if file.name not in (*Transformers.FILES, *there):
            file.unlink()
    for file_name in there:
        (checkpoint.path / file_name).touch()
    family = described(checkpoint)
    with pytest.raises(LoadError, match=reason):
        family.source("text")
    family.source("image")


def test_a_missing_tensor_is_an_error(copy: Callable[[str], Checkpoint]) -> None:
    checkpoint = copy("clip")
    file = checkpoint.path / "model.safetensors"
    tensors = load_file(file)
    del tensors["vision_model.encoder.layers.1.mlp.fc1.bias"]
    save_file(tensors, file)
    family = described(checkpoint)
    with pytest.raises(LoadError, match="lacks tensors of its image network"):
        family.source("image").module()
    family.source("text").module()


def test_each_network_is_mapped_and_counts_its_own_tensors(
    published: dict[str, Checkpoint],
) -> None:
    for name, checkpoint in published.items():
        family = described(checkpoint)
        file = checkpoint.path / "model.safetensors"
        for network in family.networks():
            source = family.source(network)
            module = source.module()
            tensors = [*module.parameters()]
            stored = 2 if CASES[name].half else 4
            size = sum(tensor.numel() for tensor in tensors) * stored
            assert 0 <= source.size - size < 0.01 * size + 100, (name, network)
            assert {tensor.dtype for tensor in tensors} == {torch.float32}
            if stored == 4:
                assert all(_mapped(file, tensors)), (name, network)


def _mapped(file: Path, tensors: list[torch.Tensor]) -> list[bool]:
    """For each tensor, whether it lies in memory that is mapped from the file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(file.resolve()))]
    places = [range(int(begin, 16), int(end, 16)) for begin, end in spans]
    return [any(tensor.data_ptr() in place for place in places) for tensor in tensors]


def test_what_is_left_out_is_transformers_default() -> None:
    for name, ours in transformers_embedding._ARCHITECTURES.items():
        config = transformers.AutoConfig.for_model(name)
        vision = config.vision_config if ours.texts else config
        width = config.projection_dim if ours.is_projected else vision.hidden_size
        found = (width, vision.image_size, vision.patch_size, vision.hidden_act)
        assert found == (ours.dims, ours.image_size, ours.patch_size, ours.activation), name
        if ours.texts:
            text, words = config.text_config, ours.texts
            assert text.max_position_embeddings == words.positions
            assert text.vocab_size == words.vocabulary
            assert words.end in (None, text.eos_token_id)
            assert words.pad in (None, text.pad_token_id)
    for name, defaults in transformers_pictures._DEFAULTS.items():
        processor: Any = getattr(transformers, name)()
        stated = {**processor.to_dict(), "image_processor_type": name}
        ours_read = transformers_pictures.read({}, name, "")
        assert str(ours_read) == str(transformers_pictures.read(stated, name, "")), defaults


def in_hub_layout(cache: Path, checkpoint: Checkpoint, hub_id: str, files: set[str]) -> ModelSpec:
    """Copy some files of a checkpoint into a cache as the hub's client would; return its row."""
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    commit = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "blobs").mkdir()
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(checkpoint.path.iterdir())):
        if file.name in files:
            shutil.copy(file, folder / "blobs" / f"{number:040x}")
            (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return ModelSpec(key="cached", family="transformers", hub_id=hub_id)


@pytest.mark.parametrize("with_texts", [True, False])
def test_a_hub_cache_that_people_have_already(
    published: dict[str, Checkpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_texts: bool,
) -> None:
    """A cache may also lack the tokenizer, if only images were embedded with the checkpoint."""

    def refuse(*_: object) -> None:
        raise AssertionError("a request was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    source = published["clip by OpenAI"]
    texts = {"vocab.json", "merges.txt", TOKENIZER} if with_texts else set()
    name = "openai/clip-vit-base-patch32"
    spec = in_hub_layout(tmp_path, source, name, {*Transformers.FILES, *texts})
    checkpoint = find_checkpoint(spec, CheckpointFiles(Transformers.FILES), tmp_path)
    assert checkpoint is not None
    family = described(checkpoint, spec)
    pixels = family.prepare_image(upright(picture(50, 40)), None, HostImages())
    with torch.inference_mode():
        assert family.source("image").module()(torch.from_numpy(pixels[None])).shape == (1, 24)
    if with_texts:
        ids = family.prepare_text("a cat").ids
        assert family.source("text").module()(torch.from_numpy(ids[None])).shape == (1, 24)
        return
    with pytest.raises(LoadError, match="for texts, the checkpoint lacks tokenizer"):
        family.source("text")


@pytest.fixture
def client(published: dict[str, Checkpoint], tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of a service with a model for images only, and one whose tokenizer is missing."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in Transformers.FILES:
        shutil.copy(published["clip"].path / file, bare)
    rows = {"dino": published["dinov2"].path, "bare": bare}
    line = '[[model]]\nkey = "{}"\nfamily = "transformers"\npath = "{}"\n'
    table = tmp_path / "models.toml"
    table.write_text("\n".join(line.format(*each) for each in rows.items()))
    settings = Settings(
        hf_hub_cache=tmp_path / "hub",
        hf_hub_offline=True,
        models_file=table,
        default_model="dino",
        depth_model="builtin-depth",
        engine="torch",
    )
    runtime = Runtime(settings)
    runtime.start()
    yield create_app(settings, runtime).test_client()
    runtime.close()


def test_texts_for_an_image_encoder_are_a_bad_request(client: FlaskClient) -> None:
    def embed(model: str) -> Any:
        return client.post("/embed-text", json={"text": "a cat", "model": model})

    for loaded in (False, True):
        answer = embed("dino")
        assert answer.status_code == 400, loaded
        assert answer.get_json()["error"] == "No texts"
        assert answer.get_json()["message"].startswith("dino embeds images only")
        if not loaded:
            form = {"image": (io.BytesIO(encoded(picture(60, 50))), "a.png"), "model": "dino"}
            answer = client.post("/embed-image", data=form, content_type="multipart/form-data")
            assert answer.status_code == 200, answer.get_json()
            assert answer.get_json()["dims"] == 32
    assert "text_state" not in str(client.get("/health").get_json())
    answer = embed("bare")
    assert answer.status_code == 503
    assert "lacks tokenizer.json" in answer.get_json()["message"]
