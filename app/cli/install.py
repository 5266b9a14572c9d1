# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Installs the Python packages into a virtual environment. ``make run`` and its like call this.

It runs before any package is there, so it needs nothing but Python. torch comes first, because its
build depends on the hardware: the usual one is made for NVIDIA's GPUs and takes 6 GB with its
libraries, the one for CPUs takes 2 GB. Variables choose another:

    TORCH_VARIANT   cpu, cuda, rocm or xpu in place of what suits this machine
    TORCH_INDEX     a package index to take torch from, such as a mirror
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

UV = "0.13.9"  # as in requirements-dev.txt
PYTORCH = "https://download.pytorch.org/whl"
# The folder of each build there, as in the Dockerfile. The build for NVIDIA GPUs is the usual one.
FOLDERS = {"cpu": "cpu", "cuda": "", "rocm": "rocm7.2", "xpu": "xpu"}
# After so many seconds without an answer an index is out of reach.
REACH_SECONDS = 10
# Without a terminal there are no progress bars, but one line each time that this has passed.
STILL_SECONDS = 30


class SetupError(Exception):
    """The packages cannot be installed, with the reason."""


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def run(*command: str | Path) -> bool:
    """Run a program that may take minutes, and return whether it succeeded."""
    process = subprocess.Popen([str(part) for part in command])
    waited = 0
    while True:
        try:
            return process.wait(STILL_SECONDS) == 0
        except subprocess.TimeoutExpired:
            waited += STILL_SECONDS
            if not sys.stdout.isatty():
                say(f"Still installing, after {waited} seconds.")
        except KeyboardInterrupt:
            process.wait()  # it was interrupted, too
            raise


class Environment:
    """A virtual environment, and the installer that works in it: uv, otherwise pip.

    uv is several times faster, but does not read pip's settings. Where those name an index, pip
    installs, so that packages come from nowhere else.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin/python"
        self._pip: list[str | Path] = [folder / "bin/pip", "--disable-pip-version-check"]
        self._uv = folder / "bin/uv"
        if not self.python.exists() and not run(sys.executable, "-m", "venv", folder):
            raise SetupError(f"Python cannot make a virtual environment in {folder}.")
        settings = subprocess.run(
            [*self._pip, "config", "list"], capture_output=True, text=True, check=False
        )
        self.own_index = ".index-url=" in settings.stdout
        self._has_uv = not self.own_index and self._ensure_uv()

    def _ensure_uv(self) -> bool:
        if self._uv.exists():
            version = subprocess.run([self._uv, "--version"], capture_output=True, text=True)
            if version.stdout.startswith(f"uv {UV}"):
                return True
        return run(*self._pip, "install", "--quiet", f"uv=={UV}")

    def install(self, *arguments: str | Path) -> bool:
        """Install packages, with progress bars on a terminal."""
        quiet = [] if sys.stdout.isatty() else ["--quiet"]
        # pyproject.toml's settings of uv are for "make lock", which leaves out torch's libraries.
        uv: list[str | Path] = [self._uv, "pip", "install", "--no-config", "--python", self.python]
        if self._has_uv:
            return run(*uv, *quiet, *arguments)
        arguments = tuple("--index-url" if a == "--default-index" else a for a in arguments)
        return run(*self._pip, "install", *quiet, *arguments)

    def install_by_either(self, file: Path) -> bool:
        """Install what a file of requirements names; where uv gets nothing, pip tries."""
        if self.install("--requirement", file):
            return True
        if not self._has_uv:
            return False
        say("uv did not succeed. pip tries it, which takes longer.")
        self._has_uv = False
        return self.install("--requirement", file)

    def uninstall(self, names: Iterable[str]) -> None:
        installed = [name for name in names if self.version(name)]
        if not installed:
            return
        if self._has_uv:
            run(
                self._uv,
                "pip",
                "uninstall",
                "--quiet",
                "--no-config",
                "--python",
                self.python,
                *installed,
            )
        else:
            run(*self._pip, "uninstall", "--quiet", "--yes", *installed)

    def version(self, name: str) -> str:
        """Return the version of an installed package, such as 2.14.1+cpu, or an empty string."""
        code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
        done = subprocess.run(
            [self.python, "-c", code, name], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    def imports(self, name: str) -> bool:
        return subprocess.run([self.python, "-c", f"import {name}"], check=False).returncode == 0


def variant_of(version: str) -> str:
    """Return the kind of a build of torch, which follows its version: 2.14.1+rocm7.2."""
    label = version.partition("+")[2]
    return next((name for name in FOLDERS if label.startswith(name)), "cuda")


def has_nvidia_gpu() -> bool:
    """Return whether there is an NVIDIA GPU with its driver."""
    program = shutil.which("nvidia-smi") or shutil.which("/usr/lib/wsl/lib/nvidia-smi")
    if program:
        try:
            done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and "GPU " in done.stdout
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def out_of_reach(index: str) -> str:
    """Return why an index does not answer, or an empty string if it does.

    In a process of its own, since looking up a host's name can take longer than any time limit.
    """
    code = (
        "import sys, urllib.error, urllib.request\n"
        "try: urllib.request.urlopen(sys.argv[1]).read(1)\n"
        "except urllib.error.HTTPError: pass\n"  # it is there; the installer will see what it has
        "except OSError as error: sys.exit(str(getattr(error, 'reason', error)))"
    )
    command = [sys.executable, "-I", "-c", code, f"{index.rstrip('/')}/torch/"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REACH_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {REACH_SECONDS} seconds"
    return "" if done.returncode == 0 else done.stderr.strip() or "no answer"


def choose(had: str, wanted: str) -> tuple[str, str]:
    """Return the build to install, and why it is that one."""
    if wanted:
        return wanted, f"TORCH_VARIANT={wanted}"
    if had in ("rocm", "xpu"):  # somebody chose it, and an update must not undo that
        return had, "as before"
    if sys.platform != "linux":
        return "cuda", f"the only one for {sys.platform}"
    if has_nvidia_gpu():
        return "cuda", "an NVIDIA GPU is here"
    if Path("/dev/kfd").exists():
        say("An AMD GPU is here. To use it: make run TORCH_VARIANT=rocm")
    return "cpu", "no NVIDIA GPU here"


def ensure_torch(environment: Environment, pins: dict[str, str]) -> bool:
    """Put the right build of torch in place, unless it comes with the other packages.

    Returns False where torch is there already.
    """
    wanted = os.environ.get("TORCH_VARIANT", "")
    index = os.environ.get("TORCH_INDEX", "")
    if wanted and wanted not in FOLDERS:
        raise SetupError(f"TORCH_VARIANT={wanted}: allowed: {', '.join(FOLDERS)}")
    installed = {name: environment.version(name) for name in pins}
    had = variant_of(installed["torch"])
    right_versions = all(installed[name].partition("+")[0] == pins[name] for name in pins)
    one_build = len({version.partition("+")[2] for version in installed.values()}) == 1
    if right_versions and one_build and wanted in ("", had):
        return False
    environment.uninstall(pins)
    variant, reason = choose(had if installed["torch"] else "", wanted)
    must = wanted or variant in ("rocm", "xpu") or index
    if variant == "cuda" and not index:
        say(f"torch: the usual build, 6 GB with its libraries ({reason}).")
        return True
    if environment.own_index and not must:
        say("torch: the build that the index of pip's settings has. TORCH_INDEX names another.")
        return True
    index = index or f"{PYTORCH}/{FOLDERS[variant]}"
    trouble = out_of_reach(index)
    if not trouble:
        say(f"torch: the build for {variant}, from {index} ({reason}).")
        packages = [f"{name}=={version}" for name, version in pins.items()]
        # Without what torch needs: that comes with the other packages, from their index.
        if environment.install("--no-deps", "--default-index", index, *packages):
            return True
        trouble = "it has no such build, or broke off"
        environment.uninstall(pins)
    if must:
        raise SetupError(f"torch for {variant} cannot be had from {index}: {trouble}.")
    say(f"torch: the usual build, 6 GB, since {index} is out of reach ({trouble}).")
    return True


def pinned(file: Path) -> dict[str, str]:
    """Return the versions of torch and torchvision in a file of requirements."""
    return dict(re.findall(r"^(torch|torchvision)==([\w.]+)", file.read_text(), re.MULTILINE))


def set_up(folder: Path, file: Path) -> None:
    """Install what ``file`` names into the virtual environment ``folder``, which may exist."""
    say(f"Set-up, once for each version: {file} into {folder}. This takes some minutes.")
    environment = Environment(folder)
    new_torch = ensure_torch(environment, pinned(file.parent / "requirements.txt"))
    say(f"Installing the packages of {file}.")
    if not environment.install_by_either(file):
        raise SetupError("The packages could not be installed; the reason stands above.")
    if new_torch and not environment.imports("torchvision"):
        raise SetupError("torch does not work after its installation. Try again after: make clean")
    say("Set-up is done.")


def main() -> int:
    """Set up, and return the exit status."""
    try:
        set_up(*map(Path, sys.argv[1:]))
    except SetupError as error:
        say(f"Set-up failed. {error}")
        return 1
    except KeyboardInterrupt:
        say("Set-up was interrupted. The next start goes on with it.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
