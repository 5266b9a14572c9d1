# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs converted models with OpenVINO, on CPUs and Intel GPUs, without importing torch.

OpenVINO's properties are explained at https://docs.openvino.ai, "High-level Performance Hints" and
"Precision Control".
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
from app.engines.openvino import int8
from app.host import memory
from config.values import FloatName, FloatSetting

log = logging.getLogger("twinlens.engines")

_NAMES: dict[str, FloatName] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_HINTS = {name: hint for hint, name in _NAMES.items()}


def is_installed() -> bool:
    """Whether OpenVINO is installed; it is not available on all platforms."""
    return find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry disabled.

    A self-hosted service must not send telemetry, and the thread and child process that OpenVINO
    starts for it would break forked workers.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def core() -> Any:
    """The only ``openvino.Core`` of a process; creating it before the fork starts no threads."""
    return import_openvino().Core()


class OpenVinoNetwork(Network):
    """A converted model: creating it maps its weights into memory; ``to_device`` compiles it."""

    engine = "openvino"

    def __init__(
        self,
        folder: Path,
        wanted: FloatSetting,
        threads: int,
        streams: int,
        *,
        has_int8: bool = False,
    ) -> None:
        """Read a model.

        Args:
            folder: the folder of the converted model.
            wanted: the setting PRECISION.
            threads: number of cores that this process may use.
            streams: number of concurrent inferences, which share those cores.
            has_int8: whether the model's weights are 8-bit integers.

        Raises:
            EngineUnavailable: OpenVINO cannot read the model.
        """
        super().__init__()
        self._folder = folder
        self._wanted = wanted
        self._threads = threads
        self._streams = streams
        self._has_int8 = has_int8
        self._compiled: Any = None
        # Idle infer requests. Each running inference needs its own, which holds working memory.
        self._requests: queue.LifoQueue[Any] = queue.LifoQueue()
        try:
            self._model = core().read_model(folder / "model.xml")
        except RuntimeError as error:
            raise EngineUnavailable("OpenVINO cannot read the converted model") from error

    def suits(self, device: str) -> bool:
        """See the base class; int8 weights are for CPUs."""
        return not self._has_int8 or openvino_name(device) == "CPU"

    def to_device(self, device: str) -> None:
        """See the base class."""
        name = openvino_name(device)
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # This is always set, because OpenVINO's default depends on its version.
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision_on(name)],
            "NUM_STREAMS": self._streams,
        }
        if self._has_int8:
            properties |= int8.PROPERTIES
        if name == "CPU":
            properties |= {
                "INFERENCE_NUM_THREADS": self._threads,
                # With pinning, two workers would use the same core and leave another one idle.
                "ENABLE_CPU_PINNING": False,
                # Limits the cache of kernels that are compiled for each input shape. A shape needs
                # 100 to 200 entries (1.4 to 4 MB), and there are hundreds of shapes; the default
                # of 5000 entries would take too much memory.
                "CPU_RUNTIME_CACHE_CAPACITY": 500,
            }
        self._compiled = self._compile(name, properties)
        self._model = None
        # Reads the precision in use: a CPU without bf16 uses fp32 whatever the hint says.
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision = "int8" if self._has_int8 else _NAMES[used.get_type_name()]
        self.device = device
        if self._wanted not in ("auto", self.precision):
            log.warning("PRECISION=%s, but %s has only %s", self._wanted, name, self.precision)

    def _compile(self, name: str, properties: dict[str, Any]) -> Any:
        """Compile the model; in fp32, if the device lacks an operation in a smaller precision.

        A CPU with bf16 lacks some if the variable ONEDNN_MAX_CPU_ISA limits its instructions.
        """
        try:
            return core().compile_model(self._model, name, properties)
        except RuntimeError as error:
            hint = properties["INFERENCE_PRECISION_HINT"]
            if hint == _HINTS["fp32"]:
                raise
            log.warning("the model cannot run in %s on %s; fp32 is used instead", hint, name)
            log.debug("OpenVINO refused it", exc_info=error)
        exact = properties | {"INFERENCE_PRECISION_HINT": _HINTS["fp32"]}
        return core().compile_model(self._model, name, exact)

    def release_idle_memory(self) -> None:
        """See the base class.

        Frees the memory of activations, and the pages of the mapped weights file. The pages are not
        needed any more, because the first inference has repacked the weights for this CPU.
        """
        with suppress(RuntimeError):  # an inference has just started
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

    def _precision_on(self, name: str) -> FloatName:
        """The requested precision, or the fastest that the hardware supports natively."""
        has = core().get_property(name, "OPTIMIZATION_CAPABILITIES")
        if self._wanted != "auto" and (name == "CPU" or self._wanted != "bf16"):
            return self._wanted  # Intel GPUs do not support bf16 in OpenVINO
        if name == "CPU" and "BF16" in has:
            return "bf16"
        return "fp16" if "FP16" in has else "fp32"


def openvino_name(device: str) -> str:
    """OpenVINO's name for a ``Device.type``: "CPU" for "cpu", "GPU.1" for "openvino:GPU.1"."""
    return "CPU" if device == "cpu" else device.removeprefix("openvino:")


def gpus() -> dict[str, str]:
    """OpenVINO's names of the Intel GPUs, with the hardware's names. Call it after the fork."""
    names = [name for name in core().available_devices if name.startswith("GPU")]
    return {name: str(core().get_property(name, "FULL_DEVICE_NAME")) for name in names}
