# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares tokenized texts of open_clip checkpoints with those of open_clip's own tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from open_clip.tokenizer import get_clean_fn

from app.engines.base import LoadError, Unsupported
from app.errors import BadRequest
from app.hub.store import Checkpoint
from app.models.cleaning import CLEANERS
from app.models.open_clip_text import Texts
from tests.tiny_tokenizers import MAKERS, TEXTS

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("", {}),
    "clip, context of 76": ("", {"context_length": 76}),
    "clip, canonicalized": ("", {"tokenizer_kwargs": {"clean": "canonicalize"}}),
    "siglip": ("t5", {"context_length": 64, "tokenizer_kwargs": {"clean": "canonicalize"}}),
    "siglip 2": ("gemma", {"context_length": 64, "tokenizer_kwargs": {"clean": "canonicalize"}}),
    "siglip 2, not cleaned": ("gemma", {"context_length": 64}),
    "clipa": ("bert", {"context_length": 32, "tokenizer_kwargs": {"strip_sep_token": True}}),
    "xlm-roberta": ("xlm_roberta", {}),
    "roberta": ("roberta", {"context_length": 40}),
    "nllb": ("nllb", {"context_length": 50}),
}


def texts_of(folder: Path, settings: dict[str, Any]) -> Texts:
    return Texts(Checkpoint(folder, "1", folder), settings, "text_cfg")


def written(folder: Path, maker: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Write a checkpoint's description and tokenizer, without weights; return its ``text_cfg``."""
    if maker:
        MAKERS[maker](folder)
        settings = settings | {"hf_tokenizer_name": f"somebody/{maker}", "vocab_size": 10**6}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": settings}}))
    return settings


@pytest.mark.parametrize("name", CASES)
def test_token_by_token(tmp_path: Path, name: str) -> None:
    maker, settings = CASES[name]
    settings = written(tmp_path, maker, settings)
    texts = texts_of(tmp_path, settings)
    texts.check()
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    for text in TEXTS:
        assert texts.encode(text).ids.tolist() == theirs(text)[0].tolist(), text
    counts = [texts.encode(text).count for text in TEXTS]
    assert max(counts) == texts.context_length  # the count of the long text, which is cut
    assert [texts.encode(text).truncated for text in TEXTS].count(True) >= 1
    assert len(set(counts)) > 3


@pytest.mark.parametrize("change", [{"legacy_behaviour": True}, {"src_lang": "fra_Latn"}])
def test_what_nllb_puts_around_a_text(tmp_path: Path, change: dict[str, Any]) -> None:
    settings = written(tmp_path, "nllb", {})
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    ours = texts_of(tmp_path, settings).encode(TEXTS[0])
    assert ours.ids.tolist() == theirs(TEXTS[0])[0].tolist()


@pytest.mark.parametrize("change", [{"padding_side": "left"}, {"truncation_side": "left"}])
def test_sides(tmp_path: Path, change: dict[str, Any]) -> None:
    settings = written(tmp_path, "gemma", {})
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    for text in (TEXTS[0], TEXTS[4]):
        ours = texts_of(tmp_path, settings).encode(text)
        assert ours.ids.tolist() == theirs(text)[0].tolist()


@pytest.mark.parametrize("name", CLEANERS)
def test_cleaning(name: str) -> None:
    for text in (*TEXTS, "a_b__c", "!?", "_", "&lt;b&gt; &amp;amp;"):
        assert CLEANERS[name](text) == get_clean_fn(name)(text)


def test_a_text_of_which_nothing_is_left(tmp_path: Path) -> None:
    texts = texts_of(tmp_path, written(tmp_path, *CASES["siglip 2"]))
    with pytest.raises(BadRequest, match="only characters that the model ignores"):
        texts.encode("?!")
    with pytest.raises(BadRequest, match="blank"):
        texts.encode(" ")


def test_a_token_beyond_the_network_is_refused(tmp_path: Path) -> None:
    """The network would read memory beyond its table of tokens, or fail."""
    settings = written(tmp_path, "gemma", {}) | {"vocab_size": 300}
    texts = texts_of(tmp_path, settings)
    assert texts.encode("a cat").count > 1
    with pytest.raises(BadRequest, match="does not know"):
        texts.encode("漢")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vocab_size": 32000}, "not made of CLIP's own tokens"),
    ({"tokenizer_kwargs": {"reduction_mask": "simple"}}, "reduction_mask"),
    # open_clip would set the language, but transformers 5 would reset it with every text.
    ({"hf_tokenizer_name": "x", "tokenizer_kwargs": {"language": "fra_Latn"}}, "language"),
    ({"tokenizer_kwargs": {"clean": "upper"}}, '"clean": "upper"'),
    ({"tokenizer_mode": "clips"}, "tokenizer_mode"),
    ({"hf_tokenizer_name": "t5-base"}, "tokenizer.json of t5-base, which the checkpoint lacks"),
    ({"hf_model_name": "an/encoder"}, "config.json of an/encoder; put it beside the weights"),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED)
def test_what_is_refused(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        texts_of(tmp_path, settings).check()


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    settings = written(tmp_path, "gemma", {})
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(LoadError, match=r"tokenizer\.json is damaged"):
        texts_of(tmp_path, settings).load()
    written(tmp_path, "gemma", {})
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<none>"}')
    with pytest.raises(LoadError, match="lacks the token <none>"):
        texts_of(tmp_path, settings).load()


def test_a_damaged_encoder_config(tmp_path: Path) -> None:
    (tmp_path / "text_encoder_config.json").write_text("[]")
    with pytest.raises(LoadError, match=r"text_encoder_config\.json is damaged"):
        texts_of(tmp_path, {"hf_model_name": "an/encoder"}).check()


@pytest.mark.parametrize("name", ["xlm-roberta-base", "facebook/nllb-200-distilled-600M"])
def test_encoders_that_are_known_by_name(tmp_path: Path, name: str) -> None:
    tower = texts_of(tmp_path, {"hf_model_name": name}).tower_settings()
    assert json.loads(Path(tower["hf_model_name"]).read_text())["vocab_size"] > 250_000


def test_ids_are_whole_numbers_of_the_contexts_length(tmp_path: Path) -> None:
    ids = texts_of(tmp_path, written(tmp_path, *CASES["clipa"])).encode("a cat").ids
    assert ids.dtype == np.int64
    assert ids.shape == (32,)
