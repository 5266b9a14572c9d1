# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A program that runs a small Ray cluster of several raylets on this machine.

Each raylet is a machine to Ray. It prints a line of JSON with the address and the raylets' process
ids, adds a machine and prints another line for each line on its input, and ends with its input. It
is a process of its own because Ray emits warnings, which fail tests.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.service import free_port

warnings.simplefilter("ignore")
PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


class Patient:
    """The module ``time`` for Ray, which gives up a machine that does not start in 30 seconds.

    Those become 300, because this computer may be busy.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        return time.monotonic() / 10


def main(machines: int) -> None:
    import ray._private.node as module
    from ray.cluster_utils import Cluster

    ray_node: Any = module
    ray_node.time = Patient()
    start = ray_node.Node.start_ray_processes

    def start_with_ports(node: Any) -> None:
        """Write down the ports, for which a raylet would end if its helpers took 15 seconds to."""
        for name in PORTS:
            port = getattr(node._ray_params, name)
            (Path(node._session_dir) / f"{name}_{node._node_id}").write_text(str(port))
        start(node)

    ray_node.Node.start_ray_processes = start_with_ports

    def options() -> dict[str, Any]:
        return {name: free_port() for name in PORTS} | {
            "num_cpus": 1,
            "object_store_memory": 80 * 2**20,
            "include_dashboard": False,
        }

    cluster = Cluster(initialize_head=True, head_node_args=options())
    added = [cluster.add_node(**options()) for _ in range(machines - 1)]

    def tell() -> None:
        # The driver belongs to the head, which is therefore not in the list.
        pids = [node.all_processes["raylet"][0].process.pid for node in added]
        print(json.dumps({"address": cluster.address, "raylets": pids}), flush=True)

    tell()
    for _ in sys.stdin:
        added.append(cluster.add_node(**options()))
        tell()
    cluster.shutdown()


if __name__ == "__main__":
    main(3)
