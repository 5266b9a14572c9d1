# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Weights in 8-bit integers: how a model gets them, and whether this CPU can run such a model.

OpenVINO multiplies such weights with activations that it rounds to 8 bits while it runs ("dynamic
quantization"). It compiles such a model on every CPU, but on those without VNNI instructions the
first inference fails. Therefore ``is_supported`` runs a small model of this kind, in a process of
its own, before any real one is loaded.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

log = logging.getLogger("twinlens.engines")

_PROJECT = Path(__file__).resolve().parents[3]
_TRIAL_SECONDS = 60.0
#: what the trial prints if the result is right
RIGHT = b"right"
# The version of the way in which weights are rounded. Increase it to round all of them anew.
_RECIPE = 1

#: OpenVINO's properties for such a model. All other operations than matrix products stay in fp32.
#: Groups of 64 activations share a factor: against OpenVINO's default of 32 that is 1.2 to 1.3
#: times faster on AVX512-VNNI, at the same accuracy.
PROPERTIES: dict[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 64,
}


def variant() -> str:
    """A part of the name of a model's folder, which changes whenever its weights may change."""
    return f"int8 recipe {_RECIPE}, nncf {version('nncf')}"


def with_int8_weights(model: Any) -> Any:
    """Round a model's weights; imports NNCF, which takes seconds. For the conversion process.

    Convolutions and tables of tokens keep their weights: OpenVINO computes them in floating point
    anyway, and rounding the convolutions of a depth model doubles the error of its maps.
    """
    # NNCF reports its use through OpenVINO's telemetry, which ``import_openvino`` has turned off,
    # and not at all where it believes to be tested.
    os.environ["NNCF_CI"] = "1"
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA is not needed
    import nncf

    nncf.set_log_level(logging.ERROR)
    kept = nncf.IgnoredScope(types=["Convolution", "Gather"], validate=False)
    mode = nncf.CompressWeightsMode.INT8_SYM
    return nncf.compress_weights(model, mode=mode, ignored_scope=kept)


@cache
def is_supported() -> bool:
    """Whether this CPU runs models with such weights; if not, the log says why.

    The master asks before the fork, so that its workers know.
    """
    reason = _trouble()
    if reason is not None:
        log.warning("PRECISION=int8 cannot be used here (%s); auto is used instead", reason)
    return reason is None


def _trouble() -> str | None:
    if find_spec("nncf") is None:
        return "the package nncf is not installed"
    try:
        trial = subprocess.run(
            [sys.executable, "-m", "app.engines.openvino.int8_trial"],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            check=False,
            timeout=_TRIAL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"a trial took more than {_TRIAL_SECONDS:g} s"
    except OSError as error:
        return f"a trial could not be started: {error.strerror}"
    # The status alone proves nothing: gunicorn's master may collect it first, and then it reads 0.
    if trial.stdout.strip() != RIGHT:
        return "OpenVINO cannot multiply in int8 on this CPU; it needs AVX-VNNI or AVX512-VNNI"
    return None
