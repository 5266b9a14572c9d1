# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that ``python -m app models check`` finds agreement and differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from app.cli.main import main
from app.cli.models import references, samples
from app.cli.models.references import OwnNetwork, Reference
from app.engines.base import FloatArray
from app.models.base import Family
from tests import depth3, open_clip_checkpoints, tiny_tokenizers, transformers_checkpoints
from tests.pictures import picture
from tests.unit.test_open_clip_families import XLM_ROBERTA


@pytest.fixture(autouse=True)
def few(built_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use only three pictures, two texts and the built-in models, so that the tests are fast."""
    monkeypatch.setenv("HF_HUB_CACHE", str(built_in))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sizes = {name: samples.SIZES[name] for name in ("odd", "crop margin", "small")}
    monkeypatch.setattr(samples, "SIZES", sizes)
    monkeypatch.setattr(samples, "TEXTS", samples.TEXTS[-2:])


@pytest.mark.parametrize(("key", "lines"), [("builtin-clip", 5), ("builtin-depth", 3)])
def test_the_built_in_models_agree(
    key: str, lines: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE", "torch")  # so that nothing has to be converted
    assert main(["models", "check", key]) == 0
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if line.startswith("  ")]) == lines
    assert f"OK: {key} agrees with" in said
    assert "differs" not in said


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that adds a row for a folder, whose model then is called "tiny"."""

    def added(family: str) -> Path:
        folder, table = tmp_path / "checkpoint", tmp_path / "models.toml"
        folder.mkdir()
        table.write_text(f'[[model]]\nkey = "tiny"\nfamily = "{family}"\npath = "{folder}"\n')
        monkeypatch.setenv("MODELS_FILE", str(table))
        monkeypatch.setenv("ENGINE", "torch")
        return folder

    return added


def test_a_family_that_no_library_has_is_not_called_checked(
    row: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SIZES", {"small": samples.SIZES["small"]})
    depth3.write(row("depth_anything_3"), "views")
    assert main(["models", "check", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "NOT CHECKED: no library here has the family depth_anything_3" in said
    assert "OK:" not in said


def test_a_text_encoder_by_its_name(
    row: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """open_clip itself would ask the hub for the encoder's config.json."""
    folder = row("open_clip")
    tiny_tokenizers.xlm_roberta(folder)
    text = open_clip_checkpoints.encoder(folder, XLM_ROBERTA, hf_pooler_type="mean_pooler")
    parts = {"vision_cfg": open_clip_checkpoints.VIT, "text_cfg": text}
    open_clip_checkpoints.write(folder, {"embed_dim": 24, "quick_gelu": False, **parts})
    file = folder / "open_clip_config.json"
    found = json.loads(file.read_text())
    found["model_cfg"]["text_cfg"]["hf_model_name"] = "somebody/encoder"
    file.write_text(json.dumps(found))
    assert main(["models", "check", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "OK: tiny agrees with open_clip" in said
    assert len([line for line in said.splitlines() if line.startswith("  ")]) == 5, "and its texts"
    (folder / "text_encoder_config.json").unlink()
    assert main(["models", "check", "tiny"]) == 1
    told = capsys.readouterr()
    assert "no texts: texts need the config.json of somebody/encoder" in told.out
    assert "its reference library cannot load it" in told.err
    assert "agrees" not in told.out


@pytest.mark.parametrize("stated", [None, 77])
def test_a_model_that_reads_longer_texts_than_clip_agrees(
    stated: int | None,
    row: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Like Long-CLIP, which has 248 positions."""
    monkeypatch.setattr(samples, "SIZES", {"small": samples.SIZES["small"]})
    folder = row("transformers")
    transformers_checkpoints.make("clip", folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 100
    (folder / "config.json").write_text(json.dumps(config))
    if stated:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["model_max_length"] = stated
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tensors = load_file(folder / "model.safetensors")
    name = "text_model.embeddings.position_embedding.weight"
    draw = torch.Generator().manual_seed(0)
    tensors[name] = torch.randn((100, tensors[name].shape[1]), generator=draw)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert main(["models", "check", "tiny", "--precision", "fp32"]) == 0
    assert "OK: tiny agrees with transformers" in capsys.readouterr().out


class Turned(Reference):
    """A reference that differs from the network, because it mirrors every picture."""

    title = "a library"

    def __init__(self, family: Family) -> None:
        self._own = OwnNetwork(family)

    def image(self, picture: Image.Image) -> FloatArray:
        flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._own.image(flipped)

    def text(self, text: str) -> FloatArray:
        return self._own.text(text)


@pytest.mark.parametrize("key", ["builtin-clip", "builtin-depth"])
def test_a_difference_is_shown_and_is_the_exit_status(
    key: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(references.REFERENCES, "open_clip", Turned)
    monkeypatch.setitem(references.REFERENCES, "depth_anything", Turned)
    picture(120, 80).save(tmp_path / "mine.png")
    (tmp_path / "note.txt").write_text("no picture")
    assert main(["models", "check", key, "--pictures", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"DIFFERS: 4 of {6 if key == 'builtin-clip' else 4} are beyond" in said
    assert "mine.png" in said
    assert "note.txt" not in said


def test_what_the_model_refuses_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENGINE", "torch")
    monkeypatch.setattr(samples, "SIZES", {"small": samples.SIZES["small"]})
    picture(630, 30).save(tmp_path / "strip.png")
    assert main(["models", "check", "builtin-depth", "--pictures", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("strip.png: The image is 630x30; depth needs an aspect ratio")


def test_pictures_must_be_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models", "check", "builtin-clip", "--pictures", str(tmp_path)]) == 2
    assert "it has no picture" in capsys.readouterr().err


def test_the_samples_are_always_the_same() -> None:
    first, second = ([np.asarray(image) for image in samples.pictures().values()] for _ in range(2))
    assert all(map(np.array_equal, first, second))
    assert min(pixels.std() for pixels in first) > 20, "a flat picture would prove nothing"
