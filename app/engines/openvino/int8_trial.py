# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs a small model with int8 weights: ``python -m app.engines.openvino.int8_trial``.

It prints a word if the result is right. Otherwise this CPU cannot run such models, whether
OpenVINO raises an error, computes something else, or crashes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from app.engines.base import FloatArray
from app.engines.openvino.int8 import PROPERTIES, RIGHT
from app.engines.openvino.runner import core, import_openvino

_INPUTS, _OUTPUTS = 256, 128
_SCALE = np.float16(1 / 2048)
# The largest error, as a share of the largest output; rounding to 8 bits explains about 0.5 %.
_MOST = 0.03


def main() -> None:
    """Compare the model's outputs with exact ones."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (_OUTPUTS, _INPUTS), np.int8)
    compiled = core().compile_model(_model(weights), "CPU", PROPERTIES)
    for shape in ((1, 1, _INPUTS), (1, 50, _INPUTS), (8, 50, _INPUTS)):
        inputs = rng.standard_normal(shape, np.float32)
        expected = inputs @ (weights * np.float32(_SCALE)).T + 1
        outputs: FloatArray = compiled.create_infer_request().infer([inputs])[0]
        if np.abs(outputs - expected).max() > _MOST * np.abs(expected).max():
            sys.exit("the result is wrong")
    print(RIGHT.decode())


def _model(weights: Any) -> Any:
    """A product with weights in the form that NNCF gives them, and a sum."""
    ov = import_openvino()
    from openvino import opset13 as ops

    inputs = ops.parameter([-1, -1, _INPUTS], np.float32)
    scales = ops.constant(np.full((_OUTPUTS, 1), _SCALE))
    product = ops.multiply(ops.convert(ops.constant(weights), np.float16), scales)
    result = ops.matmul(inputs, ops.convert(product, np.float32), False, True)
    bias = ops.constant(np.ones((1, 1, _OUTPUTS), np.float32))
    return ov.Model([ops.add(result, bias)], [inputs])


if __name__ == "__main__":
    main()
