# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""OpenVINO: the engine of CPUs and of Intel GPUs. Runs models that ``convert`` made; no torch here.

Properties: https://docs.openvino.ai, "High-level Performance Hints", "Precision Control".
"""

from __future__ import annotations

import logging
import queue
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from app.engines.base import EngineUnavailable, FloatArray, InputArray, Network
from app.host import memory
from config.values import Precision, PrecisionSetting

log = logging.getLogger("twinlens.engines")

_NAMES: dict[str, Precision] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_HINTS = {name: hint for hint, name in _NAMES.items()}


def is_installed() -> bool:
    """Whether this platform has the package."""
    return find_spec("openvino") is not None


def import_openvino() -> Any:
    """The package, kept from calling home: its telemetry would do so from a thread and a child
    process, which a self-hosted service must not and a forked worker cannot bear.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def core() -> Any:
    """OpenVINO's one object of a process; made before the fork, where it starts no threads."""
    return import_openvino().Core()


class OpenVinoNetwork(Network):
    """A converted model. Reading it maps its weights; compiling happens after the fork."""

    engine = "openvino"

    def __init__(self, folder: Path, wanted: PrecisionSetting, threads: int, streams: int) -> None:
        """Read a model.

        Args:
            folder: what ``app.engines.openvino.cache`` found.
            wanted: PRECISION.
            threads: cores that this process may use.
            streams: inferences at a time that share those.

        Raises:
            EngineUnavailable: OpenVINO cannot read it.
        """
        super().__init__()
        self._folder = folder
        self._wanted = wanted
        self._threads = threads
        self._streams = streams
        self._compiled: Any = None
        # Each running inference needs a request of its own, which keeps its working memory.
        self._requests: queue.LifoQueue[Any] = queue.LifoQueue()
        try:
            self._model = core().read_model(folder / "model.xml")
        except RuntimeError as error:
            raise EngineUnavailable("OpenVINO cannot read the converted model") from error

    def to_device(self, device: str) -> None:
        """See the base class."""
        name = openvino_name(device)
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Never left to the library, whose own choice depends on its version.
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision_on(name)],
            "NUM_STREAMS": self._streams,
        }
        if name == "CPU":
            properties |= {
                "INFERENCE_NUM_THREADS": self._threads,
                # Pinned, two workers would share one core and leave another idle.
                "ENABLE_CPU_PINNING": False,
                # Of what was prepared for shapes of input: 1.4 to 4 MB each, and there are
                # hundreds. The library keeps 5000 pieces; a shape of ours needs 100 to 200.
                "CPU_RUNTIME_CACHE_CAPACITY": 500,
            }
        self._compiled = core().compile_model(self._model, name, properties)
        self._model = None
        # What it really uses: a CPU without bf16 takes fp32 whatever the hint says.
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision = _NAMES[used.get_type_name()]
        self.device = device
        if self._wanted not in ("auto", self.precision):
            log.warning("PRECISION=%s, but %s has only %s", self._wanted, name, self.precision)

    def release_idle_memory(self) -> None:
        """See the base class: the memory between layers, and the pages of the weights' file, whose
        content the first inference has packed anew for this CPU.
        """
        with suppress(RuntimeError):  # an inference has just begun after all
            self._compiled.release_memory()
        memory.forget_mapped(self._folder)

    def infer(self, batch: InputArray) -> FloatArray:
        """See the base class."""
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            outputs = request.infer([batch], share_inputs=True, share_outputs=True)
            return np.array(outputs[0], np.float32)
        finally:
            self._requests.put(request)

    def _precision_on(self, name: str) -> Precision:
        """The fastest that the hardware itself has, unless one was asked for."""
        has = core().get_property(name, "OPTIMIZATION_CAPABILITIES")
        if self._wanted != "auto" and (name == "CPU" or self._wanted != "bf16"):
            return self._wanted  # GPUs know no bf16
        if name == "CPU" and "BF16" in has:
            return "bf16"
        return "fp16" if "FP16" in has else "fp32"


def openvino_name(device: str) -> str:
    """OpenVINO's name of a device of ours: "cpu" is "CPU", "openvino:GPU.1" is "GPU.1"."""
    return "CPU" if device == "cpu" else device.removeprefix("openvino:")


def gpus() -> dict[str, str]:
    """Intel GPUs by OpenVINO's names, with names for people; only after the fork."""
    names = [name for name in core().available_devices if name.startswith("GPU")]
    return {name: str(core().get_property(name, "FULL_DEVICE_NAME")) for name in names}
