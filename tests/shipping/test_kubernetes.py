# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that Kubernetes manifests are valid by Kubernetes' own schemas, and safe to run."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.arguments import parse
from app.library.shards import Shard
from benchmarks.service import PROJECT
from config.settings import Settings
from tests.shipping.documents import KUBERNETES, SETTINGS, documents, tool

FOLDER = PROJECT / "config/kubernetes"
# These manifests belong to other projects, whose schemas are in no Python package.
FOREIGN = ("kustomization.yaml", "keda.yaml", "rayjob.yaml")


def everything(kind: str) -> list[dict[str, Any]]:
    """Return all manifests of this kind."""
    every = [manifest for file in KUBERNETES for manifest in documents(file)]
    return [manifest for manifest in every if manifest["kind"] == kind]


def of_kind(kind: str) -> dict[str, Any]:
    """Return the only manifest of this kind."""
    (found,) = everything(kind)
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    spec: dict[str, Any] = of_kind("Deployment")["spec"]["template"]["spec"]
    return spec


def test_kubernetes_takes_them() -> None:
    files = [file for file in KUBERNETES if file.name not in FOREIGN]
    tool("kubernetes-validate", "--strict", *files)


def test_kustomize_finds_its_files() -> None:
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    assert {FOLDER / name for name in kustomization["resources"]} <= set(KUBERNETES)


def test_probes(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def test_it_runs_without_privileges(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/cache", "/tmp"}
    assert pod["automountServiceAccountToken"] is False


def test_variables_are_settings(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert {variable["name"] for variable in container["env"]} <= SETTINGS
    assert pod["enableServiceLinks"] is False, "a Service's name could set IMAGE_EMBEDDER_PORT"


def test_films_and_their_results_do_not_evict_the_pod(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    environ = {each["name"].lower(): each["value"] for each in container["env"] if "value" in each}
    settings = Settings.model_validate(environ)
    (volume,) = [each for each in pod["volumes"] if each["name"] == "tmp"]
    limit = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
    # A worker receives two films for each one that it makes, whose upload it still holds.
    films = 3 * settings.video_concurrency * settings.web_concurrency * settings.max_video_bytes
    assert limit > 2 * settings.max_waiting_bytes + films + settings.jobs_max_bytes


def test_requests_may_end(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + Settings().shutdown_timeout_seconds


def test_ports_are_those_of_the_service(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = Settings()
    assert ports == {"depth": settings.ai_service_port, "embedder": settings.image_embedder_port}
    for port in of_kind("Service")["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_what_is_scaled_exists(kind: str) -> None:
    deployment = of_kind("Deployment")["metadata"]["name"]
    assert of_kind(kind)["spec"]["scaleTargetRef"]["name"] == deployment


def test_a_backfill_has_a_pod_for_each_shard() -> None:
    job = of_kind("Job")["spec"]
    assert job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    command = [*container["command"], *container["args"]]
    assert command[:3] == ["python", "-m", "app"]
    arguments = parse([each.replace("$(JOB_COMPLETION_INDEX)", "0") for each in command[3:]])
    shard = Shard.parse(arguments.shard)
    assert shard.count == job["completions"]
    assert "--shard=$(JOB_COMPLETION_INDEX)/" in "".join(command)
    assert arguments.out.endswith("/"), "shards write to a folder"
    assert job["backoffLimitPerIndex"] > 0
    assert {each["name"] for each in container["env"]} <= SETTINGS
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    claims = [each["metadata"]["name"] for each in everything("PersistentVolumeClaim")]
    assert volumes["cache"]["persistentVolumeClaim"]["claimName"] in claims
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
