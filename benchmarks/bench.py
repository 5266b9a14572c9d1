# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares Twinlens with a reference that does what the two services it replaces did.

``python -m benchmarks.bench --cache CACHE`` makes missing checkpoints, measures, and writes
``bench.json``, ``bench.md`` and ``bench.png``. The contenders run side by side, and requests go to
them in turns, one at a time. Each figure is saved as soon as it is measured; ``--only`` and
``--models`` measure a part and leave the other figures as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from app.hub.store import repository_folder
from benchmarks import films, latency, resources, throughput
from benchmarks.contenders import BESIDE, FAMILIES, contenders
from benchmarks.plan import FULL, QUICK, SECTIONS, Plan
from benchmarks.plot import plot
from benchmarks.report import markdown
from benchmarks.results import Results
from benchmarks.service import PROJECT
from config.settings import Settings

_COST_MODEL = _FILM_MODEL = "small"
_BEGAN = time.monotonic()


def say(what: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {what}", file=sys.stderr, flush=True)


def lines_of(module: str, *arguments: str) -> Iterator[str]:
    """Run a module in a separate process and yield the lines that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise SystemExit(f"{module} ended with {process.returncode}")


def make_checkpoints(cache: Path, models: list[str], tiny: bool) -> None:
    """Make missing checkpoints in a separate process, because this one must not import torch."""
    folders = {spec.key: repository_folder(cache, spec) for spec in Settings().table().model}
    missing = [model for model in models if not (folders[model] / "refs" / "main").exists()]
    if missing:
        wanted = ["--out", str(cache), "--models", ",".join(missing)]
        for line in lines_of("benchmarks.checkpoints", *wanted, *["--tiny"] * tiny):
            say(line.strip())


class Bench:
    """Runs the benchmark once."""

    def __init__(
        self, plan: Plan, cache: Path, sections: list[str], models: list[str], results: Results
    ) -> None:
        self._plan, self._cache, self._results = plan, cache, results
        self._sections, self._models = sections, models
        self._logs = Path(tempfile.mkdtemp(prefix="twinlens-bench-"))

    def run(self) -> None:
        """Measure all sections that were asked for."""
        say(f"logs of the services: {self._logs}")
        self._limits()
        for model in self._models:
            for workers in self._plan.workers:
                self._over_http(model, workers)
        if "resources" in self._sections:
            for together in self._plan.together:
                if set(together) <= set(self._models):
                    say(f"resources: {', '.join(together)}")
                    resources.measure(
                        self._results, self._cache, self._logs, list(together), self._plan
                    )
        if "accuracy" in self._sections:
            self._accuracy()
        if "films" in self._sections and _FILM_MODEL in self._models:
            say(f"{_FILM_MODEL}: films")
            films.measure(self._results, self._cache, self._logs, _FILM_MODEL, self._plan)

    def _limits(self) -> None:
        say("ceilings of the machine")
        (line,) = lines_of(
            "benchmarks.ceiling",
            *("--cache", str(self._cache), "--models", ",".join(self._models)),
            *("--seconds", str(self._plan.ceiling_seconds)),
        )
        self._results.begin(
            f"python -m benchmarks.bench {' '.join(sys.argv[1:])}", json.loads(line)
        )

    def _over_http(self, model: str, workers: int) -> None:
        """Measure all that needs running services.

        With several workers, only Twinlens is measured.
        """
        alone = workers > 1
        possible = {
            "latency": not alone,
            "cost": not alone and model == _COST_MODEL,
            "throughput": model in self._plan.usual,
            "health": not alone and model in self._plan.usual,
        }
        wanted = [name for name, is_ in possible.items() if is_ and name in self._sections]
        if not wanted:
            return
        say(f"{model}, {workers} worker(s): start")
        with contenders(self._cache, self._logs, model, workers, alone) as running:
            for name in wanted:
                say(f"{model}, {workers} worker(s): {name}")
                if name == "latency":
                    latency.measure(self._results, running, model, self._plan)
                elif name == "cost":
                    latency.measure_cost(self._results, running, model, self._plan)
                elif name == "throughput":
                    throughput.measure(self._results, running, model, workers, self._plan)
                else:
                    throughput.measure_health(self._results, running[0], model, self._plan)

    def _accuracy(self) -> None:
        say("accuracy")
        for line in lines_of(
            "benchmarks.accuracy",
            *("--cache", str(self._cache), "--models", ",".join(self._models)),
            *("--inputs", ",".join(self._plan.accuracy)),
        ):
            rows = json.loads(line)
            model = rows[0]["model"]
            for row in rows:
                took = row.get("in a batch of 8, ms", row["alone, ms"])
                row["share"] = self._results.share(model, row["photo"], 1000 / took)
            self._results.put(
                "vectors" if FAMILIES[model] == "embedding" else "maps", rows, model=model
            )
            say(f"{model}: accuracy")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Twinlens against what it replaces.")
    parser.add_argument("--cache", type=Path, required=True, help="hub cache with checkpoints")
    parser.add_argument("--out", type=Path, default=PROJECT / "out" / "bench")
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma list; default: all")
    parser.add_argument("--models", help="comma list; default: all that the plan has")
    parser.add_argument("--quick", action="store_true", help="few repeats, fewer cases")
    parser.add_argument("--tiny", action="store_true", help="make tiny checkpoints")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    models = options.models.split(",") if options.models else list(plan.latency)
    for given, known in ((options.only.split(","), SECTIONS), (models, plan.latency)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    needed = [*models, *(BESIDE[model] for model in models if model in BESIDE)]
    make_checkpoints(options.cache, list(dict.fromkeys(needed)), options.tiny)
    weights = f"random, {'tiny' if options.tiny else 'full size'}"
    extent = "short" if options.quick else "full"
    results = Results(options.out / "bench.json", {"weights": weights, "extent": extent})
    Bench(plan, options.cache, options.only.split(","), models, results).run()
    page = markdown(results)
    (options.out / "bench.md").write_text(page)
    plot(results, options.out / "bench.png")
    print(page)


if __name__ == "__main__":
    main()
