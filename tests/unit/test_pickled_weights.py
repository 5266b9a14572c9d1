# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests checkpoints whose weights are a pickle, ``pytorch_model.bin``: used, or safely refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, CLIPConfig, CLIPModel

from app.cli.main import main
from app.engines.base import LoadError, Unsupported
from app.engines.openvino.conversion_process import convert
from app.engines.openvino.conversions import Conversions
from app.hub import lockfile, weights
from app.hub.store import Checkpoint, find_checkpoint
from app.lending.registry import files_of
from app.models import pretrained
from app.models.base import NetworkId, describe_checkpoint
from benchmarks.models import cpu_loader
from config.models import ModelSpec
from config.values import EngineSetting
from tests.fake_hub import FakeHub
from tests.process.caches import folder as repository_folder
from tests.process.caches import publish
from tests.transformers_checkpoints import make, row

BIN, SAFE = pretrained.PICKLED_WEIGHTS, pretrained.SAFE_WEIGHTS
NAME = "openai/clip-vit-base-patch32"
# The multiplication in the child process hangs if the parent's main thread has a pool of threads.
_FORKED = """
import os, signal, sys
from pathlib import Path
import torch
from app.models import transformers_towers
torch.set_num_threads(4)
for folder in sys.argv[1:]:
    transformers_towers.module(Path(folder), "clip", "image")
if os.fork() == 0:
    signal.alarm(60)
    torch.ones(1000, 1000) * 2
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) != 0)
"""


def tensors_of(checkpoint: Checkpoint) -> OrderedDict[str, torch.Tensor]:
    """A dictionary of tensors as torch's modules make it, with the counters of OpenAI's files."""
    found: Any = OrderedDict(load_file(checkpoint.path / SAFE))
    found["text_model.embeddings.position_ids"] = torch.arange(77).expand((1, -1))
    found._metadata = OrderedDict({"": {"version": 1}})
    return found  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint with both files, so that no test may change it."""
    checkpoint = make("clip", tmp_path_factory.mktemp("original"))
    torch.save(tensors_of(checkpoint), checkpoint.path / BIN)
    return checkpoint


@pytest.fixture
def checkpoint(original: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A checkpoint that has only the pickle."""
    copied = tmp_path / "checkpoint"
    shutil.copytree(original.path, copied, ignore=shutil.ignore_patterns(SAFE))
    return Checkpoint(copied, "main", copied)


def small_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    return {name: (checkpoint.path / name).read_bytes() for name in names}


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_its_vectors_are_those_of_transformers(
    checkpoint: Checkpoint, engine: EngineSetting
) -> None:
    family: Any = describe_checkpoint(row(), checkpoint)
    reference = AutoModel.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ids = np.stack([family.prepare_text(text).ids for text in ("a cat", "a photo of a dog")])
    with torch.inference_mode():
        images = reference.get_image_features(pixels).pooler_output.numpy()
        texts = reference.get_text_features(torch.from_numpy(ids)).pooler_output.numpy()
    for network, batch, expected in (("image", pixels.numpy(), images), ("text", ids, texts)):
        if engine == "openvino":
            with warnings.catch_warnings(action="ignore"):
                convert(Conversions(half=False, life=0).job(family.source(network)))
        loaded = cpu_loader(engine, "fp32").load(NetworkId(row(), network), checkpoint, "cpu")
        loaded.network.to_device("cpu")
        assert (loaded.network.engine, loaded.weights) == (engine, "published")
        found = loaded.network.infer(batch)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        assert ((found * expected).sum(axis=1) / lengths).min() > 0.99999


def test_it_is_mapped_and_counted_like_safetensors(
    original: Checkpoint, checkpoint: Checkpoint
) -> None:
    for network in ("image", "text"):
        ours, usual = (
            describe_checkpoint(row(), each).source(network) for each in (checkpoint, original)
        )
        counters = 77 * 8 if network == "text" else 0
        assert ours.size == usual.size + counters
        assert ours.files[-1].name == BIN
        assert usual.files[-1].name == SAFE, "which is preferred"
        module = ours.module()
        lines = Path("/proc/self/maps").read_text().splitlines()
        spans = [line.split()[0].split("-") for line in lines if line.endswith(f"checkpoint/{BIN}")]
        places = [range(int(begin, 16), int(end, 16)) for begin, end in spans]
        for tensor in module.parameters():
            assert any(tensor.data_ptr() in place for place in places)
        del module


def test_a_process_forked_after_the_load_can_compute(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    # Tensors that are large enough for torch to convert each with several threads.
    one = {"num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**one, "hidden_size": 256, "intermediate_size": 1024}
    config = CLIPConfig(
        text_config={**one, "hidden_size": 16, "intermediate_size": 16},
        vision_config={**vision, "image_size": 32, "patch_size": 8},
    )
    halves = tmp_path / "halves"
    config.save_pretrained(halves)
    network: Any = CLIPModel(config)
    torch.save(network.half().state_dict(), halves / BIN)
    command = [sys.executable, "-c", _FORKED, str(checkpoint.path), str(halves)]
    assert subprocess.run(command, check=False).returncode == 0


class _Malicious:
    """Unpickled naively, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._folder),)


def rewrite(file: Path, change: Callable[[str, bytes], bytes], compression: int = 0) -> None:
    """Write a zip archive anew with changed contents."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))


def test_a_malicious_pickle_is_refused_and_runs_nothing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    evil = pickle.dumps({"a": _Malicious(trap)}, protocol=2)
    rewrite(checkpoint.path / BIN, lambda name, old: evil if name.endswith("data.pkl") else old)
    pickle.loads(evil)
    trap.rmdir()  # it would have worked
    family = describe_checkpoint(row(), checkpoint)
    reason = r"pytorch_model\.bin asks for posix\.mkdir, which .* nothing of it was run"
    for use in (family.weights, lambda: family.source("image"), lambda: family.module("image")):
        with pytest.raises(Unsupported, match=reason):
            use()
    # torch's own unpickler stands behind, should the first check ever let something through.
    monkeypatch.setattr(weights, "origin", lambda _: "published")
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights"):
        family.module("image")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({"a": 1}, protocol=4), "asks for the pickle instruction"),
        (b"\x80\x02cposix\nsystem\n.", "asks for posix.system"),
        (b"\x80\x02ctorch\nload\n.", "asks for torch.load"),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "no.* dictionary of tensors"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02", "damaged"),
    ],
)
def test_other_pickles_are_refused(checkpoint: Checkpoint, content: bytes, reason: str) -> None:
    rewrite(checkpoint.path / BIN, lambda name, old: content if "data.pkl" in name else old)
    with pytest.raises(LoadError, match=reason):
        describe_checkpoint(row(), checkpoint).weights()


def test_other_formats_are_refused_by_name(checkpoint: Checkpoint) -> None:
    file = checkpoint.path / BIN
    whole = file.read_bytes()

    def reason() -> str:
        with pytest.raises(LoadError) as caught:
            describe_checkpoint(row(), checkpoint).source("image")
        return str(caught.value)

    torch.save({"a": torch.ones(3)}, file, _use_new_zipfile_serialization=False)
    assert "is not in the zip format that torch writes since version 1.6" in reason()
    file.write_bytes(whole)
    with zipfile.ZipFile(file, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{top}/constants.pkl", b"")
    assert "is a TorchScript program" in reason()
    file.write_bytes(whole)
    rewrite(file, lambda _, old: old, zipfile.ZIP_DEFLATED)
    assert "is compressed" in reason()
    file.write_bytes(whole)
    rewrite(file, lambda name, old: old[:-4] if "/data/0" in name else old)
    assert "damaged" in reason()
    file.write_bytes(whole[:-100])
    assert "damaged" in reason()


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with FakeHub(tmp_path / "published").running() as running:
        running.is_used_here(monkeypatch)
        yield running


def on_the_hub(hub: FakeHub, checkpoint: Checkpoint, names: set[str]) -> None:
    """Publish a checkpoint's small files and the named weights."""
    more = small_files(checkpoint) | {name: (checkpoint.path / name).read_bytes() for name in names}
    commit = publish(hub.cache, b"unused", NAME, more)
    if SAFE not in names:
        (repository_folder(hub.cache, NAME) / "snapshots" / commit / SAFE).unlink()


def test_a_download_takes_the_pickle_only_if_there_is_nothing_else(
    fake_hub: FakeHub, original: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_the_hub(fake_hub, original, {SAFE, BIN})
    assert main(["models", "add", "both", NAME]) == 0
    assert main(["download", "both"]) == 0
    assert SAFE in fake_hub.gets
    assert BIN not in fake_hub.gets
    shutil.rmtree(repository_folder(fake_hub.cache, NAME))
    shutil.rmtree(tmp_path / "cache")
    fake_hub.gets.clear()
    on_the_hub(fake_hub, original, {BIN})
    assert main(["models", "add", "old", NAME]) == 0
    assert main(["models", "list", "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said[said.index("[\n") :])[-1]["state"] == "not downloaded"
    assert main(["download", "old"]) == 0
    told = capsys.readouterr()
    assert f"{NAME} has no {SAFE}; downloading its {BIN} instead" in told.err
    assert fake_hub.gets[-1] == BIN
    assert main(["download", "old"]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)[-1]
    spec = ModelSpec(key="old", family="transformers", hub_id=NAME)
    known = lockfile.pinned(spec, tmp_path / "cache")
    assert known is not None
    assert listed["state"] == "present"
    assert listed["checkpoint_bytes"] == sum(file.size for file in known.files.values())
    assert known.files[BIN].size == (original.path / BIN).stat().st_size


def test_a_cache_that_people_have_already(
    original: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers downloads main's pickle; later, the hub's conversion as refs/pr/66."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = FakeHub(tmp_path)
    on_the_hub(hub, original, {BIN})
    hub.server_close()
    top = repository_folder(tmp_path, NAME)
    (top / "refs/refs/pr").mkdir(parents=True)
    (top / "refs/refs/pr/66").write_text("c" * 40)
    (top / "snapshots" / ("c" * 40)).mkdir()
    shutil.copy(original.path / SAFE, top / "snapshots" / ("c" * 40))
    spec = ModelSpec(key="cached", family="transformers", hub_id=NAME)
    checkpoint = find_checkpoint(spec, files_of(spec), tmp_path)
    assert checkpoint is not None
    assert checkpoint.revision == (top / "refs/main").read_text()
    family = describe_checkpoint(spec, checkpoint)
    assert family.source("image").files[-1].name == BIN
    pinned = spec.model_copy(update={"revision": "refs/pr/66"})
    assert find_checkpoint(pinned, files_of(pinned), tmp_path) is None, "it lacks config.json"
