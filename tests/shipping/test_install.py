# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which build of torch the set-up of ``make run`` installs, with small packages of its name.

Two indexes on the loopback stand for PyTorch's own and for the usual one.
"""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.cli import install
from benchmarks.service import PROJECT

Output = pytest.CaptureFixture[str]
USUAL = ("2.14.1", "0.29.1")
CPU = ("2.14.1+cpu", "0.29.1+cpu")
REQUIREMENTS = "torch==2.14.1  # inference\ntorchvision==0.29.1\n"
# "pip config list" in a hundredth of its time; all else is done by pip.
PIP = """
case "$*" in
    *"config list") env | sed -n "s/^PIP_INDEX_URL=/:env:.index-url=/p" ;;
    *) exec {} -m pip --python {} "$@" ;;
esac"""
# As the real one does, it works with the torch of its own build only.
TORCHVISION = """
from importlib.metadata import version
assert version("torch").partition("+")[2] == version("torchvision").partition("+")[2]
"""


def wheel(folder: Path, name: str, version: str, code: str = "") -> None:
    """Write a package with one module to the folder of an index."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", code)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", kind)
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def offer(index: Path, label: str) -> None:
    """Put both packages into an index, as one build of them."""
    wheel(index, "torch", f"2.14.1{label}")
    wheel(index, "torchvision", f"0.29.1{label}", TORCHVISION)


@dataclass
class Indexes:
    """Both package indexes; ``asked`` are the paths that were asked for."""

    folder: Path
    url: str
    asked: list[str]

    @property
    def pytorch(self) -> Path:
        """The folder of PyTorch's builds for CPUs."""
        return self.folder / "pytorch/cpu"

    def pytorch_was_asked(self) -> bool:
        return any(path.startswith("/pytorch") for path in self.asked)


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[Indexes]:
    folder = tmp_path / "indexes"
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        indexes = Indexes(folder, f"http://127.0.0.1:{server.server_port}", asked)
        offer(folder / "usual", "")
        offer(indexes.pytorch, "+cpu")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield indexes
        server.shutdown()
        thread.join()


@dataclass
class Machine:
    """A machine without a GPU, with an empty virtual environment."""

    folder: Path
    patch: pytest.MonkeyPatch

    def set_up(self, **environ: str) -> int:
        for name, value in environ.items():
            self.patch.setenv(name, value)
        file = self.folder / "requirements.txt"
        file.write_text(REQUIREMENTS)
        self.patch.setattr(sys, "argv", ["install.py", str(self.folder / "venv"), str(file)])
        return install.main()

    def has(self, torch: str, torchvision: str) -> None:
        """Put these versions in place, as somebody did by hand."""
        index = self.folder / "by-hand"
        wheel(index, "torch", torch)
        wheel(index, "torchvision", torchvision)
        uv: list[str | Path] = [
            self.folder / "venv/bin/uv",
            "pip",
            "install",
            "--quiet",
            "--offline",
            "--no-deps",
        ]
        python: list[str | Path] = ["--no-config", "--python", self.folder / "venv/bin/python"]
        subprocess.run([*uv, *python, *index.rglob("*.whl")], check=True)

    def installed(self) -> tuple[str, str]:
        """Return the versions of torch and torchvision."""
        places = self.folder.glob("venv/lib/*/site-packages/torch*.dist-info")
        torch, torchvision = sorted(place.name.removesuffix(".dist-info") for place in places)
        return torch.partition("-")[2], torchvision.partition("-")[2]

    def gets_a_gpu(self) -> None:
        program = self.folder / "programs/nvidia-smi"
        program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA L4 (UUID: GPU-1)'\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indexes: Indexes) -> Machine:
    folder = tmp_path / "machine"
    programs = folder / "programs"
    programs.mkdir(parents=True)
    ours = Path(sys.executable).parent
    venv = folder / "venv"
    command: list[str | Path] = [
        ours / "uv",
        "venv",
        "--quiet",
        "--no-config",
        "--python",
        sys.executable,
        venv,
    ]
    subprocess.run(command, check=True)
    (venv / "bin/uv").symlink_to(ours / "uv")
    script(venv / "bin/pip", PIP.format(ours / "python", venv / "bin/python"))
    script(programs / "nvidia-smi", "echo 'No devices were found'; exit 6")
    for name in [name for name in os.environ if re.match("UV_|PIP_|TORCH_|.*_proxy", name, re.I)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{indexes.url}/usual")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(install, "PYTORCH", f"{indexes.url}/pytorch")
    return Machine(folder, monkeypatch)


def script(place: Path, commands: str) -> None:
    place.write_text(f"#!/bin/sh\n{commands}\n")
    place.chmod(0o755)


def test_without_a_gpu_the_build_for_cpus_is_installed(
    machine: Machine, indexes: Indexes, capfd: Output
) -> None:
    assert machine.set_up() == 0
    assert machine.installed() == CPU
    lines = capfd.readouterr().out.splitlines()
    assert lines[1:] == [
        f"torch: the build for cpu, from {indexes.url}/pytorch/cpu (no NVIDIA GPU here).",
        f"Installing the packages of {machine.folder}/requirements.txt.",
        "Set-up is done.",
    ], "no progress bars without a terminal"
    # Another time, as "make test" does after "make run": nothing is asked or said of torch.
    indexes.asked.clear()
    assert machine.set_up() == 0
    assert not indexes.pytorch_was_asked()
    assert "torch:" not in capfd.readouterr().out


def test_with_a_gpu_the_usual_build_is_installed(
    machine: Machine, indexes: Indexes, capfd: Output
) -> None:
    machine.gets_a_gpu()
    assert machine.set_up() == 0
    assert machine.installed() == USUAL
    assert not indexes.pytorch_was_asked()
    assert "torch: the usual build, 6 GB" in capfd.readouterr().out


def test_an_index_that_is_out_of_reach_is_done_without(machine: Machine, capfd: Output) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    machine.patch.setattr(install, "PYTORCH", url)  # nobody listens there any more
    assert machine.set_up() == 0
    assert machine.installed() == USUAL
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("torch")]
    assert line.startswith(f"torch: the usual build, 6 GB, since {url}/cpu is out of reach (")
    assert "Connection refused" in line


def test_an_index_that_never_answers_is_not_waited_for(machine: Machine, capfd: Output) -> None:
    machine.patch.setattr(install, "REACH_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        machine.patch.setattr(install, "PYTORCH", url)
        assert machine.set_up() == 0
    assert machine.installed() == USUAL
    assert "no answer within 1 seconds" in capfd.readouterr().out


def test_half_a_build_is_not_left(machine: Machine, indexes: Indexes, capfd: Output) -> None:
    """torch comes, torchvision's file is broken: what came is replaced, too."""
    (broken,) = indexes.pytorch.glob("torchvision/*.whl")
    broken.write_bytes(broken.read_bytes()[:100])
    assert machine.set_up() == 0
    assert machine.installed() == USUAL
    assert "it has no such build, or broke off" in capfd.readouterr().out


def test_packages_that_do_not_fit_are_replaced(machine: Machine, indexes: Indexes) -> None:
    machine.has("2.14.1+cpu", "0.29.1")
    assert machine.set_up() == 0
    assert machine.installed() == CPU
    assert indexes.pytorch_was_asked()


def test_a_build_that_somebody_chose_is_kept(machine: Machine, indexes: Indexes) -> None:
    machine.has("2.14.1+rocm7.2", "0.29.1+rocm7.2")
    assert machine.set_up() == 0
    assert machine.installed() == ("2.14.1+rocm7.2", "0.29.1+rocm7.2")
    assert not indexes.pytorch_was_asked()


def test_an_update_stays_with_the_chosen_build(machine: Machine, indexes: Indexes) -> None:
    machine.has("2.13.0+rocm7.0", "0.28.0+rocm7.0")
    offer(indexes.folder / "pytorch/rocm7.2", "+rocm7.2")
    assert machine.set_up() == 0
    assert machine.installed() == ("2.14.1+rocm7.2", "0.29.1+rocm7.2")


def test_the_variant_can_be_named(machine: Machine, capfd: Output) -> None:
    assert machine.set_up() == 0
    assert machine.set_up(TORCH_VARIANT="cuda") == 0
    assert machine.installed() == USUAL
    capfd.readouterr()
    assert machine.set_up(TORCH_VARIANT="xpu") == 1, "the index does not have it"
    assert "Set-up failed. torch for xpu cannot be had from" in capfd.readouterr().out
    assert machine.set_up(TORCH_VARIANT="gpu") == 1
    assert "TORCH_VARIANT=gpu: allowed: cpu, cuda, rocm, xpu" in capfd.readouterr().out


def test_a_mirror_can_be_named(machine: Machine, indexes: Indexes) -> None:
    offer(indexes.folder / "mirror", "+cpu")
    assert machine.set_up(TORCH_INDEX=f"{indexes.url}/mirror") == 0
    assert machine.installed() == CPU
    assert not indexes.pytorch_was_asked()


def test_where_pip_has_an_index_of_its_own_no_other_is_asked(
    machine: Machine, indexes: Indexes
) -> None:
    environ = {"PIP_INDEX_URL": f"{indexes.url}/usual", "UV_DEFAULT_INDEX": "http://127.0.0.1:9"}
    assert machine.set_up(**environ) == 0
    assert machine.installed() == USUAL
    assert not indexes.pytorch_was_asked()


def test_no_progress_without_a_terminal_but_a_line_now_and_then(
    machine: Machine, capfd: Output
) -> None:
    machine.patch.setattr(install, "STILL_SECONDS", 0.05)
    assert install.run("sleep", "0.5")
    assert "Still installing, after 0.1 seconds." in capfd.readouterr().out


def test_versions_are_those_of_the_requirements_and_of_the_image() -> None:
    development = (PROJECT / "requirements-dev.txt").read_text()
    assert f"\nuv=={install.UV} " in development
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for name, folder in install.FOLDERS.items():
        assert not folder or f"        {name}) build={folder} ;;" in dockerfile
    assert install.pinned(PROJECT / "requirements.txt").keys() == {"torch", "torchvision"}


def test_every_set_up_of_the_makefile_is_this_one() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert makefile.count("app/cli/install.py $(VENV) requirements") == 2
    assert not re.search(r"pip install", makefile)
