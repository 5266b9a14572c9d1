# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the workflows, and that all files of a release name the same version and images.

The scripts of the release's workflow run here as they are, with stand-ins for docker and gh.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.service import PROJECT
from config.version import VERSION
from tests.shipping.documents import COMPOSE, KUBERNETES, compose, documents, tool

WORKFLOWS = sorted((PROJECT / ".github/workflows").iterdir())
(RELEASE,) = documents(PROJECT / ".github/workflows/release.yml")
JOBS = RELEASE["jobs"]
SUFFIXES = {build["suffix"] for build in JOBS["image"]["strategy"]["matrix"]["include"]}
IMAGES = re.compile(r"\S*\btwinlens(?:-cluster)?(?:\})?:(\S+)$")


def test_github_takes_the_workflows() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_runs_only_what_is_named_for_good(workflow: Path) -> None:
    text = workflow.read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        if not action.startswith("./.github/workflows/"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), "the version, for people"
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"run: make ([\w-]+)", text):
        assert f"\n{target}:" in makefile
    (whole,) = documents(workflow)
    assert whole["permissions"] in ({}, {"contents": "read"}), "more only in single jobs"


def test_nothing_is_published_before_the_checks() -> None:
    assert JOBS["checks"]["uses"] == "./.github/workflows/ci.yml"
    called = (PROJECT / ".github/workflows/ci.yml").read_text()
    assert "\n  workflow_call:" in called
    assert "run: make test\n" in called
    assert {"checks", "image"} <= set(JOBS["publish"]["needs"])
    published = JOBS["publish"]["strategy"]["matrix"]["include"]
    built = JOBS["image"]["strategy"]["matrix"]["include"]
    assert {(each["suffix"], arch) for each in published for arch in each["arches"].split()} == {
        (each["suffix"], each["arch"]) for each in built
    }


def test_the_build_uses_arguments_that_the_dockerfile_has() -> None:
    (build,) = [step for step in JOBS["image"]["steps"] if "build-args" in step.get("with", {})]
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for line in build["with"]["build-args"].splitlines():
        assert re.search(rf"^ARG {line.partition('=')[0]}(=|$)", dockerfile, re.MULTILINE)


def strings(value: Any) -> list[str]:
    """Return all strings of a document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def test_every_file_names_the_image_of_this_version() -> None:
    found = []
    for file in COMPOSE:
        for service in compose(file)["services"].values():
            if "twinlens" in service.get("image", ""):
                found.append((file.name, service["image"]))
    for file in KUBERNETES:
        for text in strings(documents(file)):
            if "/" in text and IMAGES.match(text):
                found.append((file.name, text))
    assert len({name for name, _ in found}) >= 8
    for name, image in found:
        tag = IMAGES.match(image)
        assert tag, (name, image)
        written = re.sub(r"\$\{TWINLENS_TAG:-(.+)\}", r"\1", tag[1])
        assert written.removeprefix(VERSION) in SUFFIXES, (name, image)
    (kustomization,) = documents(PROJECT / "config/kubernetes/kustomization.yaml")
    assert [image["newTag"] for image in kustomization["images"]] == [VERSION]


def test_the_documents_name_the_image_of_this_version() -> None:
    found = []
    for file in {*PROJECT.glob("docs/**/*.md"), PROJECT / "README.md"}:
        if file.name != "release.md":  # its versions are examples
            text = file.read_text()
            assert not re.search(r"(?:image:|FROM|docker save) \S*twinlens(?!\S*:)", text), file
            tags = re.findall(
                r"\btwinlens(?:-cluster)?:(\d+\.[\w.-]+)|`(\d+\.\d+\.\d+(?:-\w+)?)`", text
            )
            found += [(file.name, beside or alone) for beside, alone in tags]
    assert {name for name, _ in found} >= {"docker.md", "immich.md", "operations.md", "start.md"}
    for name, tag in found:
        assert tag.removeprefix(VERSION) in SUFFIXES, (name, tag)


def test_nothing_asks_for_whatever_is_latest() -> None:
    for file in (*COMPOSE, *KUBERNETES):
        assert ":latest" not in file.read_text(), file


@pytest.mark.parametrize("name", ["CHANGELOG.md", "RELEASE_NOTES.md"])
def test_the_newest_notes_are_those_of_this_version(name: str) -> None:
    headings = re.findall(r"^## (.+)$", (PROJECT / name).read_text(), re.MULTILINE)
    newest = next(heading for heading in headings if heading != "Unreleased")
    assert re.fullmatch(rf"{re.escape(VERSION)} \(\d{{4}}-\d\d-\d\d\)", newest)


@pytest.mark.parametrize("name", ["twinlens.env", ".env"])
def test_settings_with_keys_are_not_committed(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", name], cwd=PROJECT, capture_output=True)
    assert done.returncode in (0, 128), "128: no git here"


class Runner:
    """A folder in which the scripts of the workflow run, with stand-ins for docker and gh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        programs = folder / "programs"
        programs.mkdir()
        for name in ("docker", "gh"):
            stand_in = programs / name
            stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\necho sha256:12ab\n')
            stand_in.chmod(0o755)
        (folder / "config/compose").mkdir(parents=True)
        for file in ("config/version.py", "config/compose/image.yml", "Dockerfile"):
            (folder / file).write_text((PROJECT / file).read_text())
        notes = f"# Notes\n\n## Unreleased\n\n## {VERSION} (2026-11-28)\n\nNew.\n\n## 0.1.0 (x)\n"
        for file in ("CHANGELOG.md", "RELEASE_NOTES.md"):
            (folder / file).write_text(f"{notes}\nOld.\n")

    def run(self, job: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the only script of a job that has a shell's variables in it."""
        (script,) = [step["run"] for step in JOBS[job]["steps"] if "$" in step.get("run", "")]
        path = f"{self.folder}/programs:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={"PATH": path, "GITHUB_OUTPUT": str(self.folder / "output"), **environ},
            capture_output=True,
            text=True,
            timeout=240,
        )


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_a_tag_that_is_not_the_version_is_refused(runner: Runner) -> None:
    done = runner.run("version", GITHUB_REF_NAME="v9.9.9", OWNER="Somebody")
    assert done.returncode == 1
    assert f"The tag is v9.9.9, config/version.py says {VERSION}" in done.stdout
    assert not runner.calls.exists()


def test_notes_without_the_version_are_refused(runner: Runner) -> None:
    (runner.folder / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    done = runner.run("version", GITHUB_REF_NAME=f"v{VERSION}", OWNER="Somebody")
    assert done.returncode == 1


def test_names_are_those_of_the_owner_and_the_base_has_a_digest(runner: Runner) -> None:
    done = runner.run("version", GITHUB_REF_NAME=f"v{VERSION}", OWNER="Somebody")
    assert done.returncode == 0, done.stderr
    assert (runner.folder / "output").read_text().splitlines() == [
        f"version={VERSION}",
        "image=ghcr.io/somebody/twinlens",
        "base=python:3.11-slim-trixie@sha256:12ab",
    ]


@pytest.mark.parametrize(("version", "latest"), [("1.0.0", True), ("1.1.0-rc1", False)])
def test_images_of_all_processors_get_one_name(runner: Runner, version: str, latest: bool) -> None:
    image = "ghcr.io/somebody/twinlens"
    environ = {"IMAGE": image, "TAG": version, "ARCHES": "amd64 arm64", "LATEST": "latest"}
    done = runner.run("publish", **environ)
    assert done.returncode == 0, done.stderr
    create, _ = runner.calls.read_text().splitlines()
    assert create.endswith(f" {image}:{version}-amd64 {image}:{version}-arm64")
    assert f"--tag {image}:{version} " in create
    assert (f"--tag {image}:latest " in create) == latest
    assert (runner.folder / "output").read_text() == "digest=sha256:12ab\n"


def test_a_release_has_its_notes_and_a_file_that_needs_no_other(runner: Runner) -> None:
    image = "ghcr.io/somebody/twinlens"
    environ = {"IMAGE": image, "VERSION": VERSION, "GITHUB_REF_NAME": f"v{VERSION}"}
    done = runner.run("draft", **environ)
    assert done.returncode == 0, done.stderr
    assert (runner.folder / "notes.md").read_text().strip() == "New."
    service = yaml.safe_load((runner.folder / "files/compose.yml").read_text())["services"]
    assert service["twinlens"]["image"] == f"${{TWINLENS_IMAGE:-{image}}}:{VERSION}"
    created = runner.calls.read_text().splitlines()[-1]
    assert created.startswith(f"gh release create v{VERSION} --draft --verify-tag")
    for suffix in SUFFIXES:
        assert f"files/sbom{suffix}.spdx.json" in created
