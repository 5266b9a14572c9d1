# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests KubeRay's manifest.

KubeRay's own schema is in no Python package. The pods in it, which are most of it, are checked by
Kubernetes' schema; of the rest, what the job cannot do without.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from app.cli.arguments import parse
from benchmarks.service import PROJECT
from tests.shipping.documents import documents, tool

Pods = dict[str, dict[str, Any]]


@pytest.fixture
def spec() -> dict[str, Any]:
    (job,) = documents(PROJECT / "config/kubernetes/rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec: dict[str, Any] = job["spec"]
    return spec


@pytest.fixture
def pods(spec: dict[str, Any]) -> Pods:
    """Return the pod specs: that of the submitter, the head's and the workers'."""
    cluster = spec["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    return {
        "submitter": spec["submitterPodTemplate"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
        "worker": group["template"]["spec"],
    }


def test_kubernetes_takes_the_pods(pods: Pods, tmp_path: Path) -> None:
    for name, pod in pods.items():
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
        (tmp_path / f"{name}.json").write_text(json.dumps(manifest))
    tool("kubernetes-validate", "--strict", *tmp_path.iterdir())


def test_they_run_without_privileges_and_call_nobody(pods: Pods) -> None:
    for pod in pods.values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert variables["RAY_USAGE_STATS_ENABLED"] == "0"


def test_all_machines_have_the_same_program_and_disks(pods: Pods) -> None:
    (head,), (worker,) = pods["head"]["containers"], pods["worker"]["containers"]
    for name in ("image", "env", "envFrom", "volumeMounts"):
        assert head[name] == worker[name]
    assert pods["head"]["volumes"] == pods["worker"]["volumes"]
    assert {"readinessProbe", "livenessProbe"} <= head.keys() & worker.keys(), "no wget there"


def test_the_command_is_one(spec: dict[str, Any]) -> None:
    words = shlex.split(spec["entrypoint"])
    assert words[:3] == ["python", "-m", "app"]
    arguments = parse(words[3:])
    assert arguments.cluster == "auto"
    assert arguments.out.endswith("/")


def test_the_version_of_ray_is_the_pinned_one(spec: dict[str, Any]) -> None:
    pinned = (PROJECT / "config/requirements-cluster.txt").read_text()
    (version,) = re.findall(r"^ray\[data\]==(\S+)", pinned, re.MULTILINE)
    assert spec["rayClusterSpec"]["rayVersion"] == version


def test_the_head_does_no_pictures_and_workers_have_cores(spec: dict[str, Any]) -> None:
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (worker,) = group["template"]["spec"]["containers"]
    assert int(worker["resources"]["limits"]["cpu"]) >= 1
