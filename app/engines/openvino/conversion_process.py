# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that converts one network: ``python -m app.engines.openvino.conversion_process``.

Its arguments are a ``Job`` as JSON and the number of a pipe that tells when the service is gone. It
ends with status 0 when the result is in its place, and with ``REFUSED`` and one line on its output
where the checkpoint is at fault.
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

import numpy as np

from app.engines.base import LoadError, NetworkSource
from app.engines.openvino import cache as converted
from app.engines.openvino.conversions import FAILED, REFUSED, Job
from app.engines.openvino.runner import import_openvino
from app.host.lifeline import end_with_the_service
from config.logging import configure_logging
from config.settings import SettingsError, load_settings

log = logging.getLogger("twinlens.conversion")

# Images (or texts), channels, rows and columns of the trace's input, where they are left open.
_EXAMPLE = (1, 3, 70, 98)


def main() -> None:
    """Entry point."""
    job, life = Job.model_validate_json(sys.argv[1]), int(sys.argv[2])
    with suppress(SettingsError):  # the service runs on those that it began with
        configure_logging(load_settings())
    end_with_the_service(life)
    os.nice(5)  # who has a model already is served first
    # Tracing warns of every branch that depends on a shape; those are dealt with.
    warnings.simplefilter("ignore")
    try:
        convert(job)
    except LoadError as error:
        print(error)
        raise SystemExit(REFUSED) from None
    except Exception as error:  # torch and OpenVINO raise many kinds
        log.exception("the conversion of %s failed", job.label)
        print(f"its conversion failed ({getattr(error, 'strerror', None) or 'see the log'})")
        raise SystemExit(FAILED) from None


def convert(job: Job) -> None:
    """Convert a network, for every shape of input that its family knows, and publish it.

    Raises:
        LoadError: the checkpoint does not fit the table or is damaged.
        OSError: the result cannot be stored.
    """
    import torch

    ov = import_openvino()
    source = _source(job)
    module = source.module()
    # The trace is made with a small input, and holds for every shape.
    sizes = [size or small for size, small in zip(source.input_shape, _EXAMPLE, strict=False)]
    example = torch.from_numpy(np.zeros(sizes, source.input_type))
    with torch.no_grad():
        model = ov.convert_model(
            module,
            example_input=example,
            input=[ov.PartialShape([size or -1 for size in source.input_shape])],
        )
    made = Path(tempfile.mkdtemp(dir=job.target.parent))
    try:
        ov.save_model(model, made / "model.xml", compress_to_fp16=job.half)
        converted.publish(made, job.target, job.basis)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _source(job: Job) -> NetworkSource:
    function, text = job.recipe
    module, _, name = function.partition(":")
    source: NetworkSource = getattr(import_module(module), name)(text)
    return source


if __name__ == "__main__":
    main()
