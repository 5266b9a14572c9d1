# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that compose files are valid, use existing settings, and give the service all it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import PROJECT
from config.settings import Settings
from tests.shipping.documents import COMPOSE, SETTINGS, compose, tool

# These are the names of the service in the different projects.
OURS = ("twinlens", "ai", "image-embedder")
# A cluster for the command line, without the service.
CLUSTER = PROJECT / "config/compose/ray.yml"
SERVICES = [file for file in COMPOSE if file != CLUSTER]
# These add to docker-compose.yml; all others describe the service in full.
ADDITIONS = ("nginx.yml", "nvidia.yml", "rocm.yml", "intel.yml")
FILES = pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)


def ours(file: Path) -> dict[str, Any]:
    """Return the part of a compose file that describes the service."""
    services: dict[str, Any] = compose(file)["services"]
    return next(service for name, service in services.items() if name in OURS)


def whole_ones() -> list[Path]:
    """Return the files that describe the service in full, rather than add to another file."""
    return [file for file in SERVICES if file.name not in ADDITIONS]


def test_the_specification_takes_them(tmp_path: Path) -> None:
    for file in COMPOSE:
        (tmp_path / file.with_suffix(".json").name).write_text(json.dumps(compose(file)))
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *tmp_path.iterdir())


@FILES
def test_every_variable_is_a_setting(file: Path) -> None:
    assert set(ours(file).get("environment", {})) <= SETTINGS | {"TMPDIR"}


@pytest.mark.parametrize("file", whole_ones(), ids=lambda file: file.name)
def test_it_has_all_that_it_needs_and_no_more(file: Path) -> None:
    service = ours(file)
    assert service["read_only"] is True
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    (volume,) = service["volumes"]
    name, place = volume.split(":")
    assert place == "/cache"
    assert name in compose(file)["volumes"], "else the weights go with the container"
    assert int(service["mem_limit"].removesuffix("g")) >= 6
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > Settings().shutdown_timeout_seconds


@pytest.mark.parametrize("file", whole_ones(), ids=lambda file: file.name)
def test_films_are_on_the_volume(file: Path) -> None:
    """A film of 4 GB and the results of a day do not fit into /tmp, which is memory."""
    service = ours(file)
    environ = service["environment"]
    if "depth" in environ.get("ENABLED_FAMILIES", "depth"):
        place = service["volumes"][0].partition(":")[2]
        # TMPDIR has to exist on every volume: Python takes /tmp instead of a folder that does not.
        assert environ["TMPDIR"] == place
        assert environ["JOBS_FOLDER"].startswith(f"{place}/"), "the service makes this folder"


@pytest.mark.parametrize("name", ["docker-compose.yml", "config/compose/image.yml"])
def test_both_clients_find_their_ports(name: str) -> None:
    ports = {mapping.split(":")[1] for mapping in ours(PROJECT / name)["ports"]}
    settings = Settings()
    assert ports == {str(settings.ai_service_port), str(settings.image_embedder_port)}


def test_the_healthcheck_of_another_project_does_not_stay() -> None:
    """The compose file replaces ImmichVR's own health check.

    ImmichVR's calls curl, which the image does not have.
    """
    service = ours(PROJECT / "config/compose/immichvr.yml")
    assert f"CMD {json.dumps(service['healthcheck']['test'][1:])}" in (
        (PROJECT / "Dockerfile").read_text()
    )


def test_models_go_when_they_are_idle_as_in_the_service_that_immichvr_had() -> None:
    environ = ours(PROJECT / "config/compose/immichvr.yml")["environment"]
    assert environ["MODEL_IDLE_SECONDS"] == "1800"


def test_classifarr_is_told_of_a_slow_host_before_it_gives_up() -> None:
    environ = ours(PROJECT / "config/compose/classifarr.yml")["environment"]
    assert float(environ["REQUEST_TIMEOUT_SECONDS"]) <= 12


def test_paths_of_mounted_files_exist() -> None:
    for mount in compose(PROJECT / "config/compose/nginx.yml")["services"]["nginx"]["volumes"]:
        assert (PROJECT / mount.split(":")[0]).is_file()


def test_nginx_knows_the_same_upstreams_in_compose() -> None:
    def names(file: str) -> list[str]:
        text = (PROJECT / file).read_text()
        return re.findall(r"upstream (\w+)|server \S+?:(\d+)", text)

    assert names("config/nginx-upstreams.conf") == names("config/compose/nginx-upstreams.conf")


def test_one_file_is_enough_where_only_an_image_can_be_used() -> None:
    """Portainer, Synology and Unraid are given one file, and have none of the others beside it."""
    service = ours(PROJECT / "config/compose/image.yml")
    assert not {"build", "env_file"} & service.keys()
    assert all(volume.startswith("cache:") for volume in service["volumes"])


def test_a_cluster_calls_nobody_and_is_not_reached_from_outside() -> None:
    services = compose(CLUSTER)["services"]
    for service in services.values():
        assert "ports" not in service
        assert "--disable-usage-stats" in service["command"]
        assert service["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert "--include-dashboard=false" in services["head"]["command"]
    assert services["head"]["volumes"] == services["worker"]["volumes"], "all see the same files"
    assert services["worker"]["deploy"]["replicas"] == 2
    port = next(part for part in services["head"]["command"] if part.startswith("--port="))
    assert f"--address=head:{port.removeprefix('--port=')}" in services["worker"]["command"]
