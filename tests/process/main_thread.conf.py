# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py under the hardest conditions for the fork.

Before it serves, each worker runs inference with two threads on its forked main thread. This would
hang for ever if the master had run a multi-threaded kernel before the fork.
"""

import runpy
from dataclasses import replace
from typing import Any

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# This import comes after the configuration, which has to run first.
from app.lending.registry import networks_of  # noqa: E402

_after_fork, _bring_up = globals()["post_fork"], globals()["post_worker_init"]


def post_fork(server: Any, worker: Any) -> None:
    runtime = server.app.wsgi().extensions["twinlens"]
    engines = {
        name: replace(getattr(runtime.loader, name), threads=2) for name in ("openvino", "torch")
    }
    runtime.loader = runtime.manager._loader = replace(runtime.loader, **engines)
    for entry in runtime.manager._entries.values():
        if entry.loaded is not None:
            entry.loaded.network._threads = 2
    _after_fork(server, worker)


def post_worker_init(worker: Any) -> None:
    runtime = worker.app.wsgi().extensions["twinlens"]
    for spec in runtime.registry.defaults.values():
        with runtime.manager.lease(networks_of(spec)[0]):
            worker.log.info("warmed %s on the main thread", spec.key)
    _bring_up(worker)
