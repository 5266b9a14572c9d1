# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``python -m app models list``, ``add`` and ``remove`` with a fake hub on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.hub import lockfile
from app.hub.store import BUILTIN
from config.settings import load_settings
from tests import depth3, tiny_depth, transformers_checkpoints
from tests.fake_hub import FakeHub
from tests.process.caches import SMALL, folder, publish

DEPTH, CLIP = BUILTIN / "builtin-depth", BUILTIN / "builtin-clip"
MINE = "me/depth"
CARD = b"---\nlicense: apache-2.0\ntags: [depth]\n---\n# Depth\n"
WEIGHTS = (DEPTH / "model.safetensors").read_bytes()


class Command:
    """Runs ``python -m app models`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object, status: int = 0) -> str:
        """Run an action; return its stdout, or its stderr if it is expected to fail."""
        found = main(["models", *map(str, arguments)])
        said = self._capsys.readouterr()
        assert found == status, said
        assert "Traceback" not in said.err
        return said.err if status else said.out

    def download(self, key: str) -> None:
        """Download a model, and discard what the command prints."""
        assert main(["download", key]) == 0
        self._capsys.readouterr()


@pytest.fixture
def models(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    return tmp_path / "cache"


@pytest.fixture
def fake_hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one repository: a depth model with a model card."""
    publish_depth(tmp_path / "published", README=CARD)
    with FakeHub(tmp_path / "published").running() as running:
        running.is_used_here(monkeypatch)
        yield running


def publish_depth(
    hub: Path,
    repository: str = MINE,
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    **more: bytes,
) -> str:
    config = json.loads((DEPTH / "config.json").read_bytes())
    change(config)
    files = {
        "config.json": json.dumps(config).encode(),
        "preprocessor_config.json": (DEPTH / "preprocessor_config.json").read_bytes(),
        **{f"{name}.md": content for name, content in more.items()},
    }
    return publish(hub, WEIGHTS, repository, files)


def rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in tomllib.loads(path.read_text())["model"]}


def test_add_writes_what_the_checkpoint_says(
    fake_hub: FakeHub, cache: Path, models: Command
) -> None:
    said = models("add", "mine", MINE)
    path = cache / "twinlens-models.toml"
    assert rows(path) == {
        "mine": {
            "key": "mine",
            "family": "depth_anything",
            "name": "depth",
            "hub_id": MINE,
            "license": "Apache-2.0",
            "parameters": "3M",
            "memory": "~12MB",
            "download": "6 MB",
        }
    }
    for told in (str(path), "family depth_anything", "python -m app download mine", "restart"):
        assert told in said
    assert fake_hub.ranges == ["bytes=0-1048575"], "of the weights only the header is read"
    spec = next(spec for spec in load_settings().table().model if spec.key == "mine")
    record = lockfile.pinned(spec, cache)
    assert record is not None
    assert set(record.files) == {"config.json", "preprocessor_config.json"}
    assert "not downloaded" in models("list")
    # The download takes the commit that was examined, even if the branch has moved since.
    publish(fake_hub.cache, b"other", MINE)
    models.download("mine")
    now = lockfile.pinned(spec, cache)
    assert now is not None
    assert now.commit == record.commit


def test_a_server_that_knows_no_ranges_is_no_trouble(fake_hub: FakeHub, models: Command) -> None:
    fake_hub.knows_ranges = False
    assert "3M parameters" in models("add", "mine", MINE)


def test_list_says_what_is_on_disk(
    fake_hub: FakeHub, cache: Path, models: Command, tmp_path: Path
) -> None:
    models("add", "mine", MINE)
    models("add", "own", DEPTH, "--license", "MIT")
    assert "--activation says it here" in models("add", "lost", CLIP, status=1)
    models("add", "lost", CLIP, "--activation", "gelu")
    text = (cache / "twinlens-models.toml").read_text()
    lost = text.replace(str(CLIP), str(tmp_path / "nowhere"))
    (cache / "twinlens-models.toml").write_text(lost)
    models.download("mine")
    listed = {each["key"]: each for each in json.loads(models("list", "--json"))}
    assert listed["mine"]["state"] == "present"
    assert listed["mine"]["checkpoint_bytes"] > len(WEIGHTS)
    assert listed["small"]["state"] == "not downloaded"
    assert listed["builtin-clip"]["state"] == "built-in"
    assert listed["own"]["state"] == "local folder"
    assert listed["lost"]["state"] == "damaged"
    (weights,) = folder(cache, MINE).glob("snapshots/*/model.safetensors")
    weights.resolve().write_bytes(WEIGHTS[:-1])
    shown = models("list")
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert lines["small"].split()[:4] == ["small", "depth", "depth_anything", "Apache-2.0"]
    assert "MIT" in lines["own"]
    assert "mine is damaged: model.safetensors is damaged or was changed" in shown


@pytest.mark.usefixtures("fake_hub")
def test_all_else_in_the_file_stays(
    models: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.toml"
    monkeypatch.setenv("MODELS_FILE", str(path))
    own = '# mine\n\n[[model]]   # first\nkey = "a"\nfamily = "open_clip"\npath = "/a"\n\n# of b\n'
    own += "[[model]]\nkey='b'\nfamily='depth_anything'\npath='/b' # note\n# the end"
    path.write_text(own)
    models("add", "mine", MINE, "--name", 'A "name" \\ Ü')
    assert path.read_text().startswith(own + '\n\n[[model]]\nkey = "mine"\n')
    assert rows(path)["mine"]["name"] == 'A "name" \\ Ü'
    assert "pass --replace" in models("add", "mine", MINE, status=2)
    assert "built in: pass --replace" in models("add", "small", MINE, status=2)
    models("add", "b", MINE, "--replace", "--revision", "main")
    text = path.read_text()
    assert "path='/b'" not in text
    assert text.index('# of b\n[[model]]\nkey = "b"') < text.index("# the end")
    assert rows(path)["b"]["revision"] == "main"
    models("remove", "b", "--yes")
    models("remove", "mine", "--yes")
    left = path.read_text()
    assert list(rows(path)) == ["a"]
    for comment in ("# mine\n", "# first", "# of b", "# the end"):
        assert comment in left


def test_a_built_in_key_can_be_replaced_and_comes_back(
    fake_hub: FakeHub, cache: Path, models: Command
) -> None:
    models("add", "small", f"https://huggingface.co/{MINE}/tree/main", "--replace")
    known = {spec.key: spec.hub_id for spec in load_settings().table().model}
    assert known["small"] == MINE
    assert "DEPTH_MODEL=small: choose another" in models("remove", "small", "--yes", status=2)
    models("add", "base", MINE, "--replace")
    assert "its files stay, because small has" in models("remove", "base", "--yes")
    known = {spec.key: spec.hub_id for spec in load_settings().table().model}
    assert known["base"] == SMALL.replace("Small", "Base")
    assert folder(cache, MINE).is_dir()


REFUSED: list[tuple[str, dict[str, Any], list[str], str]] = [
    ("model type", {"model_type": "bert"}, [], "model_type 'bert'"),
    ("setting", {"patch_size": 8}, [], "cannot be used as depth_anything: config.json has"),
    ("family", {}, ["--family", "open_clip"], "as open_clip: it lacks open_clip_config.json"),
]


@pytest.mark.parametrize(("name", "change", "options", "reason"), REFUSED)
def test_what_no_family_can_use_is_refused_with_the_reason(
    fake_hub: FakeHub,
    cache: Path,
    models: Command,
    name: str,
    change: dict[str, Any],
    options: list[str],
    reason: str,
) -> None:
    publish_depth(fake_hub.cache, "me/odd", lambda config: config.update(change))
    said = models("add", "odd", "me/odd", *options, status=1)
    assert reason in said, name
    assert said.count("\n") == 1
    assert not cache.exists()


def test_other_mistakes_are_one_clear_line(
    fake_hub: FakeHub, cache: Path, models: Command, tmp_path: Path
) -> None:
    assert "does not know this repository" in models("add", "x", "no/body", status=1)
    assert "allowed: up to 64" in models("add", "a/b", MINE, status=2)
    assert "OWNER/NAME" in models("add", "x", "nothing", status=2)
    assert "no folder" in models("add", "x", tmp_path / "none", status=2)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": ')
    assert "open_clip_config.json is damaged" in models("add", "x", tmp_path, status=1)
    assert "unknown: 'x'" in models("remove", "x", status=2)
    assert "unknown: 'x'" in models("check", "x", status=2)
    (tmp_path / "empty").mkdir()
    assert "it has none of config.json" in models("add", "x", tmp_path / "empty", status=1)
    (publish_folder,) = folder(fake_hub.cache, MINE).glob("snapshots/*")
    (publish_folder / "model.safetensors").unlink()
    said = models("add", "x", MINE, status=1)
    assert "it lacks model.safetensors (weights in several files" in said
    fake_hub.refuse = 99
    assert "the hub answered 503" in models("add", "x", MINE, status=1)
    assert not cache.exists()


def test_a_file_that_cannot_be_changed_stays(
    fake_hub: FakeHub, models: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.toml"
    monkeypatch.setenv("MODELS_FILE", str(path))
    inline = 'model = [{key = "a", family = "open_clip", path = "/a"}]\n'
    path.write_text(inline)
    assert "edit it by hand" in models("add", "mine", MINE, status=1)
    assert path.read_text() == inline
    path.unlink()
    monkeypatch.setenv("MODELS_FILE", str(tmp_path / "none" / "rows.toml"))
    assert "cannot be read" in models("list", status=78)


def test_offline_it_reads_what_the_cache_has(
    fake_hub: FakeHub, cache: Path, models: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("add", "first", MINE)
    models.download("first")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fake_hub.heads.clear()
    models("add", "second", MINE)
    assert rows(cache / "twinlens-models.toml")["second"]["hub_id"] == MINE
    assert "HF_HUB_OFFLINE is set" in models("add", "third", "me/unknown", status=1)
    assert not fake_hub.heads


def test_a_folder_for_another_machine_brings_the_row_along(
    fake_hub: FakeHub, models: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("add", "mine", MINE)
    models("add", "other", MINE)
    assert main(["download", "mine", "--output", str(tmp_path / "usb")]) == 0
    assert list(rows(tmp_path / "usb" / "twinlens-models.toml")) == ["mine"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "usb"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fake_hub.heads.clear()
    models.download("mine")
    assert not fake_hub.heads


def test_remove_deletes_the_files_and_the_row(
    fake_hub: FakeHub, cache: Path, models: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("add", "mine", MINE)
    models.download("mine")
    converted = folder(cache, MINE) / "twinlens" / "openvino-x"
    converted.mkdir(parents=True)
    assert "Pass --yes" in models("remove", "mine", status=2)
    (weights,) = folder(cache, MINE).glob("snapshots/*/model.safetensors")
    hold = "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1);"
    hold += "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, weights],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()
        assert f"in use by process {user.pid}" in models("remove", "mine", "--yes", status=1)
        user.kill()
    said = models("remove", "mine", "--yes")
    assert "its files are deleted; its row is removed" in said
    assert not folder(cache, MINE).exists()
    assert "mine" not in models("list")


@pytest.mark.usefixtures("cache")
def test_what_is_not_ours_to_delete_stays(models: Command, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in DEPTH.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    models("add", "own", own)
    models.download("own")  # the message says that there is nothing to download
    assert f"the files in {own} stay" in models("remove", "own", "--yes")
    assert len(list(own.iterdir())) == len(list(DEPTH.iterdir()))
    assert "part of the program" in models("remove", "builtin-clip", "--yes", status=2)
    assert "there were no files" in models("remove", "small", "--yes")
    assert "its row is built in and stays" in models("remove", "base", "--yes")


@pytest.mark.usefixtures("cache")
def test_names_with_odd_characters(models: Command, tmp_path: Path) -> None:
    odd = 'a\x7f\u2028"\\\n\t[[model]] #'
    models("add", "odd", DEPTH, "--name", odd)
    assert load_settings().table().model[-1].name == odd
    assert "is not UTF-8" in models("add", "x", DEPTH, "--name", "a\udcff", status=2)
    (tmp_path / "a\udcff").mkdir()
    assert "is not UTF-8" in models("add", "x", tmp_path / "a\udcff", status=2)
    assert "no such home folder" in models("add", "x", "~nobody-here/f", status=2)
    assert "is taken" in models("add", "current", DEPTH, status=2)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("model.safetensors", POINTER, "model.safetensors is a pointer of Git LFS"),
        ("tokenizer.json", POINTER, "tokenizer.json is a pointer of Git LFS"),
        ("model.safetensors", b"no weights", "the weights file is damaged"),
        ("model.safetensors", None, "the weights file is damaged"),
    ],
)
def test_a_folder_whose_files_are_not_whole_is_refused(
    models: Command, tmp_path: Path, file: str, content: bytes | None, reason: str
) -> None:
    own = tmp_path / "own"
    transformers_checkpoints.make("clip", own)
    (own / file).write_bytes((own / file).read_bytes()[:-1] if content is None else content)
    assert reason in models("add", "own", own, status=1)
    assert load_settings().present_rows_file() is None


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("depth_anything_3", "metric"),
        ("transformers_depth", "swinv2"),
        ("transformers", "dinov2"),
    ],
)
def test_add_recognises_each_family(
    models: Command, tmp_path: Path, family: str, kind: str
) -> None:
    own = tmp_path / kind
    if family == "depth_anything_3":
        depth3.write(own, kind)
    elif family == "transformers_depth":
        tiny_depth.write(tmp_path, kind)
    else:
        transformers_checkpoints.make(kind, own)
    said = models("add", "own", own)
    assert f"family {family}," in said
    assert "not usable" not in said


def test_a_folder_that_a_row_names_stays(fake_hub: FakeHub, cache: Path, models: Command) -> None:
    models("add", "mine", MINE)
    models.download("mine")
    (snapshot,) = folder(cache, MINE).glob("snapshots/*")
    models("add", "same", snapshot)
    assert "its files stay, because same has" in models("remove", "mine", "--yes")
    assert (snapshot / "model.safetensors").is_file()
    own = cache / "twinlens--own"
    shutil.copytree(snapshot, own)
    models("add", "own", own)
    assert "move your files" in models("remove", "own", "--yes", status=2)
    assert (own / "config.json").is_file()
