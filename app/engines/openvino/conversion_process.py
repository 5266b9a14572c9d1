# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that converts one network: ``python -m app.engines.openvino.conversion_process``.

Its arguments are a ``Job`` as JSON and the descriptor of a pipe that closes when all processes of
the service have ended. The exit status is 0 if the result is published, ``REFUSED`` if the
checkpoint is at fault, and ``FAILED`` if the conversion failed otherwise; the last line of the
output then says why.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from app.engines.base import LoadError, NetworkSource
from app.engines.openvino import cache as converted
from app.engines.openvino.conversions import FAILED, REFUSED, Job
from app.engines.openvino.int8 import with_int8_weights
from app.engines.openvino.runner import import_openvino
from app.host.lifeline import end_with_the_service
from config.logging import configure_logging
from config.settings import SettingsError, load_settings

log = logging.getLogger("twinlens.conversion")

# Sizes of the example input for the dimensions that a network leaves open: images (or texts),
# channels, rows, columns.
_EXAMPLE = (1, 3, 70, 98)


def main() -> None:
    """Convert the network that the arguments describe; the exit status tells the outcome."""
    job, life = Job.model_validate_json(sys.argv[1]), int(sys.argv[2])
    # Settings that became invalid after the service started must not stop a conversion.
    with suppress(SettingsError):
        configure_logging(load_settings())
    end_with_the_service(life)
    os.nice(5)  # requests to models that are loaded already come first
    # Tracing warns of every branch that depends on an input shape. The families' modules avoid
    # wrong results from such branches, so the warnings are of no use.
    warnings.simplefilter("ignore")
    try:
        convert(job)
    except LoadError as error:
        print(error)
        raise SystemExit(REFUSED) from None
    except Exception as error:  # torch and OpenVINO raise many types of exceptions
        log.exception("the conversion of %s failed", job.label)
        print(f"its conversion failed ({getattr(error, 'strerror', None) or 'see the log'})")
        raise SystemExit(FAILED) from None


def convert(job: Job) -> None:
    """Convert a network and publish the result, which accepts every input shape of its family.

    Raises:
        LoadError: the checkpoint contradicts the table of models or is damaged.
        OSError: the result cannot be stored.
    """
    import torch

    ov = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    source = _source(job)
    module = source.module()
    # Tracing a small input is fast, and the result accepts any size of the open dimensions.
    sizes = [size or small for size, small in zip(source.input_shape, _EXAMPLE, strict=False)]
    example = torch.from_numpy(np.zeros(sizes, source.input_type))
    with torch.no_grad():
        # ``convert_model`` would trace with check_trace, which traces and runs the module again to
        # warn of differences. That takes as long as all the rest.
        traced = TorchScriptPythonDecoder(
            module, example_input=example, trace_kwargs={"check_trace": False}
        )
        model = ov.convert_model(
            traced, input=[ov.PartialShape([size or -1 for size in source.input_shape])]
        )
    _correct_resizes(model)
    if job.int8:
        model = with_int8_weights(model)
    made = Path(tempfile.mkdtemp(dir=job.target.parent))
    try:
        ov.save_model(model, made / "model.xml", compress_to_fp16=job.half)
        converted.publish(made, job.target, job.basis)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _correct_resizes(model: Any) -> None:
    """Make resizes to a single row or column right.

    OpenVINO converts torch's resizes to a mode that takes the first of the old rows for the only
    new one; torch takes the middle, which is the mode "half_pixel". Both are the same otherwise.
    """
    for operation in model.get_ops():
        if operation.get_type_name() == "Interpolate":
            attributes = operation.get_attributes()
            if attributes["coordinate_transformation_mode"] == "pytorch_half_pixel":
                operation.set_attribute("coordinate_transformation_mode", "half_pixel")


def _source(job: Job) -> NetworkSource:
    function, text = job.recipe
    module, _, name = function.partition(":")
    source: NetworkSource = getattr(import_module(module), name)(text)
    return source


if __name__ == "__main__":
    main()
