# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Ray: connects to a cluster, places actors on its machines, and has them do units."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cluster.plans import Unit
from app.cluster.worker import UNITS_AT_A_TIME, Outcome, Worker
from app.errors import BadRequest
from app.host import memory

_INSTALL = "--cluster needs Ray: pip install -r config/requirements-cluster.txt"
_LOCAL_STORE_BYTES = 100 * 2**20
# Ray Data keeps records of each of its blocks, so that there must not be one for each of a million
# units. Each actor has some in its queue.
_MOST_BLOCKS = 10_000
_QUEUED = 2 * UNITS_AT_A_TIME
_POLL_SECONDS = 0.2


class ClusterFailed(Exception):
    """The cluster cannot do the job; the message says why."""


@dataclass(frozen=True)
class Actors:
    """Processes that hold the model, spread over the machines."""

    count: int
    #: that each uses
    cores: int
    gpus: int
    #: pictures that each has under way
    jobs: int

    def __str__(self) -> str:
        what = "GPU" if self.gpus else f"{self.cores} core{'s'[: self.cores > 1]}"
        return f"{self.count} process{'es'[: 2 * (self.count > 1)]}, each with {what}"

    def resources(self) -> dict[str, float]:
        """What Ray reserves for each.

        Half of the cores at most: after the loss of a machine, the others then still have a place
        for its actors. The tasks of Ray Data itself need a core, too, or the job hangs.
        """
        if self.gpus:
            return {"num_gpus": 1, "num_cpus": 0.5}
        return {"num_cpus": self.cores / 2 if self.cores <= 2 else self.cores // 2}


@contextmanager
def connected(address: str, cores: int | None = None) -> Iterator[None]:
    """Connect to a cluster.

    Args:
        address: "local", which is this machine, "auto", or HOST:PORT.
        cores: that Ray counts on this machine (default: all).

    Raises:
        BadRequest: Ray is not installed, or the address is none.
        ClusterFailed: there is no cluster.
    """
    if "://" in address:
        raise BadRequest(
            f"--cluster {address}: allowed: local, auto, or HOST:PORT of a cluster that this "
            "machine belongs to",
            title="Invalid option",
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a self-hosted service calls nobody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its lines would break our own
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise BadRequest(_INSTALL, title="Invalid option") from None
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options |= {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": cores or memory.usable_cores(),
            "object_store_memory": _LOCAL_STORE_BYTES,
        }
    else:
        options["address"] = address
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with _quiet():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if "AuthenticationError" in str(error):
            raise ClusterFailed(
                f"--cluster {address}: the cluster wants its token: set RAY_AUTH_MODE=token here, "
                "too, and copy ~/.ray/auth_token from its head (docs/scale.md)"
            ) from None
        raise ClusterFailed(
            f"--cluster {address}: no cluster answers ({str(error).splitlines()[0]}); start one "
            "with `ray start --head`, and run this command on one of its machines"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries write to the terminal themselves off it: Ray's core tells, whatever its
    log level, that it has one. Its failures are exceptions.
    """
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def actors(count: int | None, jobs: int) -> Actors:
    """One actor for each GPU of the cluster, or for the cores of each machine.

    Machines of different sizes get actors of the size of the smallest.

    Args:
        count: of actors, instead; they share the cores.
        jobs: pictures that each actor has under way.

    Raises:
        ClusterFailed: the cluster has no cores.
    """
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cores = [int(each["CPU"]) for each in machines if each.get("CPU", 0) >= 1]
    gpus = int(sum(each.get("GPU", 0) for each in machines))
    if not cores:
        raise ClusterFailed("no machine of the cluster offers a core")
    if gpus:
        return Actors(count or gpus, max(1, sum(cores) // gpus), gpus, jobs)
    if count:
        return Actors(count, max(1, sum(cores) // count), 0, jobs)
    return Actors(sum(each // min(cores) for each in cores), min(cores), 0, jobs)


def outcomes(
    units: Sequence[Unit], work: Any, actors: Actors, worker: type = Worker
) -> Iterator[Outcome]:
    """Do units, and yield what became of each, in any order.

    A unit whose actor dies yields nothing: the caller finds that it has no part. Ray would run it
    again itself, but on the same actor, and that may wait for a machine that never comes back.

    Args:
        units: what to do.
        work: first argument of the worker: a ``Work``.
        actors: how many, and how large.
        worker: another class, for measurements.

    Raises:
        ClusterFailed: no actor can start.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    rows = [{"plan": unit.plan, "file": unit.file, "group": unit.group} for unit in units]
    pool = ActorPoolStrategy(
        size=min(actors.count, len(units)),
        max_tasks_in_flight_per_actor=_QUEUED,
        max_concurrent_calls_per_actor=UNITS_AT_A_TIME,
        enable_true_multi_threading=True,
    )
    blocks = min(len(rows), _MOST_BLOCKS)
    arguments: dict[str, Any] = {**actors.resources(), "max_restarts": -1, "max_task_retries": 0}
    with warnings.catch_warnings(action="ignore"):  # Ray deprecates max_restarts, without another
        found = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            worker,
            fn_constructor_args=(work, actors.cores, actors.jobs),
            batch_size=1,
            compute=pool,
            **arguments,
        )
    try:
        yield from found.iter_rows()
    except RayError as error:
        raise ClusterFailed(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The message of what an actor raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("RuntimeError: ") if lines else type(error).__name__


def until_stopped(found: Iterator[Outcome], is_stopped: Callable[[], bool]) -> Iterator[Outcome]:
    """The same outcomes, until the user asks to stop: a thread waits for Ray, which does not react
    to signals.

    Raises:
        Exception: whatever ``found`` raises.
    """
    arrived: queue.Queue[Outcome | BaseException | None] = queue.Queue()

    def take() -> None:
        try:
            for each in found:
                arrived.put(each)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    threading.Thread(target=take, daemon=True).start()
    while not is_stopped():
        try:
            each = arrived.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if each is None:
            return
        if isinstance(each, BaseException):
            raise each
        yield each
