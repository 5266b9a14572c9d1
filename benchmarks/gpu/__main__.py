# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m benchmarks.gpu --cache CACHE [--device cuda] [--models small,ViT-L-14] [--quick]``.

Makes missing checkpoints, measures, prints a page and writes it as ``gpu.md`` beside ``gpu.json``.
A full run takes about half an hour, most of which goes into compiling networks for each shape.
``--only`` and ``--models`` measure a part, for machines that are paid by the minute. ``--device cpu
--quick --tiny`` shows on any machine that everything runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import lines_of, make_checkpoints, say
from benchmarks.gpu import service
from benchmarks.gpu.page import Page
from benchmarks.plan import FULL, QUICK
from benchmarks.service import PROJECT

PARTS = ("networks", "stages", "service")
_STAGES_MODEL = "small"  # the model that benchmarks.gpu.stages uses
_MOST_WORDS = 300


class Run:
    """Runs the benchmark.

    Its own process never imports torch, which would occupy some of the device's memory.
    """

    def __init__(self, options: argparse.Namespace, models: list[str]) -> None:
        self._models, self._cache, self._device = models, options.cache, options.device
        self._quick, self._tiny = options.quick, options.tiny
        self._usual = (QUICK if self._quick else FULL).usual
        self._device_options = ["--device", self._device, *["--quick"] * self._quick]
        say("ceilings of the device")
        (line,) = lines_of("benchmarks.gpu.ceilings", *self._device_options)
        found = json.loads(line)
        self._ceilings: dict[str, float] = found["TFLOP/s"]
        self.page = Page(options.out, self._head(found["about"]))
        self.page.add("ceilings", {**self._ceilings, "copy, GB/s": found["copy, GB/s"]})

    def measure(self, parts: list[str]) -> None:
        """Measure these parts; if one fails, the page says so, and the other parts still run."""
        if "networks" in parts:
            for model in self._models:
                self._guarded(f"{model}: network", partial(self._network, model))
        if "stages" in parts:
            self._guarded("stages", partial(self._tables_of, "stages"))
        if "service" in parts:
            logs = Path(tempfile.mkdtemp(prefix="twinlens-bench-gpu-"))
            say(f"logs of the services: {logs}")
            for model in self._models:
                if model in self._usual:
                    self._guarded(f"{model}: service", partial(self._service, logs, model))

    def _network(self, model: str) -> None:
        ceilings = json.dumps(self._ceilings)
        self._tables_of("networks", "--model", model, "--ceilings", ceilings)

    def _tables_of(self, module: str, *own: str) -> None:
        """Run a module as a separate process, and add the rows that it prints to the page."""
        common = ("--cache", str(self._cache), *self._device_options)
        for line in lines_of(f"benchmarks.gpu.{module}", *common, *own):
            name, row = json.loads(line)
            self.page.add(name, row)

    def _service(self, logs: Path, model: str) -> None:
        load = service.QUICK if self._quick else service.FULL
        for row in service.measure(
            self._cache, logs, model, self._usual[model], self._device, load
        ):
            self.page.add("service", row)

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        say(what)
        try:
            work()
        except (Exception, SystemExit) as error:  # SystemExit: a measuring process failed
            why = " ".join(f"{type(error).__name__}: {error}".split())
            say(why)
            self.page.add("failures", {"what": what, "why": why[-_MOST_WORDS:]})

    def _head(self, about: dict[str, str]) -> dict[str, str]:
        driver = service.nvidia_smi("driver_version", self._device)
        return {
            "device": about["device"] + (f", driver {driver}" if driver else ""),
            "machine": ", ".join(f"{key} {text}" for key, text in machine.description().items()),
            "versions": about["versions"],
            "weights": f"random, {'tiny' if self._tiny else 'full size'}",
            "extent": "short" if self._quick else "full",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "command": f"python -m benchmarks.gpu {' '.join(sys.argv[1:])}",
        }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Twinlens on a GPU.")
    parser.add_argument("--cache", type=Path, required=True, help="hub cache with checkpoints")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu only to try it")
    parser.add_argument("--out", type=Path, default=PROJECT / "out" / "bench-gpu")
    parser.add_argument("--only", default=",".join(PARTS), help="comma list; default: all")
    parser.add_argument("--models", help="comma list; default: all that the plan has")
    parser.add_argument("--quick", action="store_true", help="few repeats, fewer cases")
    parser.add_argument("--tiny", action="store_true", help="make tiny checkpoints")
    options = parser.parse_args()
    models = list((QUICK if options.quick else FULL).latency)
    models = options.models.split(",") if options.models else models
    parts = options.only.split(",")
    for given, known in ((parts, PARTS), (models, FULL.latency)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    needed = [*models, *[_STAGES_MODEL] * ("stages" in parts)]
    make_checkpoints(options.cache, list(dict.fromkeys(needed)), options.tiny)
    run = Run(options, models)
    run.measure(parts)
    print(run.page.markdown())


if __name__ == "__main__":
    main()
