# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the Dockerfile, the lock file, and the tools and workflows that use them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.service import PROJECT
from tests.shipping.documents import documents, tool

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
PINS = dict(re.findall(r"^([\w-]+)==([\w.]+)", (PROJECT / "requirements.txt").read_text(), re.M))
LOCKED = {
    (name, version): hashes
    for name, version, hashes in re.findall(
        r"^([\w-]+)==([\w.]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)*)",
        (PROJECT / "requirements.lock").read_text(),
        re.M,
    )
}
TORCH = ("torch", "torchvision")


def test_hadolint_has_no_complaint() -> None:
    tool("hadolint", "Dockerfile")


@pytest.mark.parametrize("name", TORCH)
def test_torch_is_the_one_of_the_requirements(name: str) -> None:
    assert f"ARG {name.upper()}_VERSION={PINS[name]}\n" in DOCKERFILE


def test_the_lock_is_that_of_the_requirements() -> None:
    for name, version in PINS.items():
        locked = (name.replace("_", "-"), version) in LOCKED
        assert locked == (name not in TORCH), f"{name}: run make lock"
    assert all(LOCKED.values()), "a package without hashes"


def test_no_library_of_one_kind_of_device_is_locked() -> None:
    """The lock file lists no such library: they come with torch, in the layer of each variant."""
    names = {name for name, _ in LOCKED}
    assert not [name for name in names if re.match("nvidia|cuda|triton|intel|pytorch", name)]
    taken_out = re.search(r"uninstall --yes ([^&]+)", DOCKERFILE)
    assert taken_out
    assert set(taken_out[1].replace("\\", "").split()) <= names


def test_a_wrong_variant_is_refused_with_what_is_allowed() -> None:
    """This runs only the case statement of the Dockerfile's first RUN, and installs nothing."""
    case = re.search(r'case "\$TORCH_VARIANT" in.*?esac', DOCKERFILE, re.S)
    assert case
    script = case[0].replace("\\\n", "\n") + '\necho "$build"'

    def choose(variant: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script], env={"TORCH_VARIANT": variant}, capture_output=True, text=True
        )

    chosen = {variant: choose(variant).stdout for variant in ("cpu", "cuda", "rocm", "xpu")}
    assert chosen == {"cpu": "cpu\n", "cuda": "cu130\n", "rocm": "rocm7.2\n", "xpu": "xpu\n"}
    refused = choose("gpu")
    assert refused.returncode == 1
    assert refused.stderr == "TORCH_VARIANT=gpu: allowed: cpu, cuda, rocm, xpu\n"


def test_nobody_is_root_and_nothing_needs_a_home() -> None:
    last = DOCKERFILE.split("FROM base AS service")[1]
    assert "USER 1000\n" in last
    assert "USER root" not in last
    assert "HOME=/tmp XDG_CACHE_HOME=/cache HF_HUB_CACHE=/cache/hub" in last


def test_only_what_is_named_goes_into_the_image() -> None:
    everything, *rules = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert everything == "*"
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M))
    assert named == {name for names in copied for name in names.split()}
    assert "**/__pycache__" in rules
    for name in named:
        assert (PROJECT / name).exists()


def test_the_version_stands_in_one_place() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.toml", "*.py", "*.y*ml", "Dockerfile", "Makefile"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    stated = r"^\s*(__version__|version|VERSION)\s*[:=]\s*[\"']\d"
    files = [name for name in listed if re.search(stated, (PROJECT / name).read_text(), re.M)]
    assert files in (["config/version.py"], []), "[]: no git here"


def test_github_takes_the_forms_for_issues() -> None:
    forms = list((PROJECT / ".github/ISSUE_TEMPLATE").iterdir())
    assert forms
    tool("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)


def test_contributors_are_shown_files_and_targets_that_exist() -> None:
    page = (PROJECT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:app|config|tests|benchmarks|docs)/[^`\s*]*)`", page):
        assert (PROJECT / path).exists(), path
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", page):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"pytest (\S+)", page):
        assert (PROJECT / path).exists(), path


def test_hooks_are_ours_and_valid(tmp_path: Path) -> None:
    shutil.copy(PROJECT / ".pre-commit-config.yaml", tmp_path)
    tool("pre-commit", "validate-config", tmp_path / ".pre-commit-config.yaml")
    (config,) = documents(PROJECT / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
