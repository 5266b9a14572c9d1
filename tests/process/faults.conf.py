# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py with faults around the engine, which files in $FAULTS plan.

* slow: contains the seconds by which each inference takes longer, unless it is healed before
* hang: the next inference hangs
* lost: the next inference fails as if the device were lost
* lost-prepare, lost-finish: the next image work before or after inference fails in this way
* memory: contains the number of inferences that run out of memory
* free: contains the bytes that are reported as free
* crash: contains the key of a model whose load ends its worker
* crash-start: workers end before they are ready

Each inference of an image network adds a line to ``inferences``.
"""

import os
import runpy
import time
from pathlib import Path
from typing import Any

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# These imports come after the configuration, which has to run first.
from app.engines.base import FloatArray  # noqa: E402
from app.host import memory  # noqa: E402
from app.lending.loaded import LoadedNetwork  # noqa: E402
from app.pictures.canvas import HostImages  # noqa: E402

_folder = Path(os.environ["FAULTS"])
_free = memory.free
_infer = LoadedNetwork.infer
_warm_up = LoadedNetwork.warm_up
_post_worker_init: Any = globals()["post_worker_init"]


def _wanted(name: str) -> str | None:
    try:
        return (_folder / name).read_text()
    except OSError:
        return None


def _once(name: str) -> bool:
    """Return whether to fail now; only one worker fails each time.

    The file's text says how many times to fail; without text, it is once.
    """
    try:
        (_folder / name).rename(_folder / f".{name}")
    except OSError:
        return False
    left = int((_folder / f".{name}").read_text() or 1) - 1
    if left:
        (_folder / f".{name}").write_text(str(left))
        (_folder / f".{name}").rename(_folder / name)
    return True


def _infer_or_fail(self: LoadedNetwork, batch: FloatArray) -> FloatArray:
    if self.id.name != "image":
        return _infer(self, batch)
    with (_folder / "inferences").open("a") as file:
        file.write(f"{os.getpid()} {self.id.spec.key} {len(batch)}\n")
    if slow := _wanted("slow"):
        end = time.monotonic() + float(slow)
        while _wanted("slow") == slow and time.monotonic() < end:
            time.sleep(0.01)
    if _once("hang"):
        time.sleep(3600)
    if _once("memory"):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if _once("lost"):
        raise RuntimeError("CUDA error: unspecified launch failure")
    return _infer(self, batch)


def _warm_up_or_crash(self: LoadedNetwork) -> None:
    if _wanted("crash") == self.id.spec.key:
        os.abort()
    _warm_up(self)


def post_worker_init(worker: Any) -> None:
    """End the worker if that is asked for; otherwise do what the project's configuration does."""
    if _wanted("crash-start") is not None:
        os._exit(1)
    _post_worker_init(worker)


def _faulty_images(method: str, name: str) -> None:
    work = getattr(HostImages, method)

    def work_or_fail(*arguments: Any) -> Any:
        if _once(name):
            raise RuntimeError("CUDA error: unspecified launch failure")
        return work(*arguments)

    setattr(HostImages, method, work_or_fail)


def _free_or_less(device: str) -> int:
    return int(_wanted("free") or _free(device))


LoadedNetwork.infer = _infer_or_fail  # type: ignore[method-assign,assignment]
LoadedNetwork.warm_up = _warm_up_or_crash  # type: ignore[method-assign]
_faulty_images("prepared", "lost-prepare")
_faulty_images("spread", "lost-finish")
memory.free = _free_or_less
