# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures answers per second and the latency of /health while many clients send without pause."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict

from benchmarks.client import Clients, ask, rate
from benchmarks.contenders import FAMILIES, Contender
from benchmarks.inputs import SIZES, Photos
from benchmarks.plan import Plan
from benchmarks.results import Results, Row, ratios, spread
from benchmarks.service import PROJECT

_FEW = 8  # higher numbers of clients are compared with this number
_BURSTS = 3  # a rate needs at least this many bursts of answers from each worker
_BATCH = 8  # images that Twinlens puts into one batch for embeddings on a CPU


def measure(
    results: Results, contenders: list[Contender], model: str, workers: int, plan: Plan
) -> None:
    """Measure answers per second for each number of clients, then one request with no others."""
    photos = Photos(SIZES[plan.usual[model]])
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    afterwards: dict[int, list[float]] = defaultdict(list)
    least = _BURSTS * workers * (_BATCH if FAMILIES[model] == "embedding" else 1)
    for each in contenders:  # a warm-up, because new threads are slow at first
        rate(each, photos, max(plan.compared_at), plan.window)
    for _ in range(plan.rounds if len(contenders) > 1 else plan.rounds_alone):
        for clients in plan.clients:
            for each in contenders:
                if each.notices_hang_up:
                    answers = least if clients > 1 else _BURSTS
                    rates[each.name, clients].append(
                        rate(each, photos, clients, plan.window, answers)
                    )
                    afterwards[clients].append(1000 * ask(each, photos.next()).seconds)
                elif clients in plan.compared_at:
                    rates[each.name, clients].append(rate(each, photos, clients, plan.window))
    rows: list[Row] = []
    for clients in plan.clients:
        ours = rates["Twinlens", clients]
        row: Row = {
            "model": model,
            "photo": plan.usual[model],
            "workers": workers,
            "clients": clients,
        }
        row["Twinlens, 1/s"] = spread(ours)
        row["share"] = results.share(model, plan.usual[model], statistics.median(ours))
        if clients > _FEW:
            row["to 8 clients"] = ratios(ours, rates["Twinlens", _FEW])
        row["next when all have gone, ms"] = spread(afterwards[clients])
        for each in contenders:
            theirs = rates[each.name, clients]
            if theirs and theirs is not ours:
                row[f"{each.name}, 1/s"] = spread(theirs)
                row[f"Twinlens / {each.name}"] = ratios(ours, theirs)
        rows.append(row)
    results.put("throughput", rows, model=model, workers=workers)


def measure_health(results: Results, ours: Contender, model: str, plan: Plan) -> None:
    """Measure /health ten times per second, from a separate process, while all clients send."""
    photos, clients = Photos(SIZES[plan.usual[model]]), max(plan.clients)
    probe = [sys.executable, "-m", "benchmarks.probe", str(plan.health_seconds)]
    with Clients(ours, photos, clients).asking() as asking:
        time.sleep(plan.window.lead_in)
        done = subprocess.run(
            [*probe, ours.service.url("/health")], check=True, capture_output=True, cwd=PROJECT
        )
        asking.check()
    times = sorted(json.loads(done.stdout))
    row: Row = {
        "model": model,
        "clients": clients,
        "asked": len(times),
        "p50, ms": statistics.median(times),
        "p99, ms": statistics.quantiles(times, n=100, method="inclusive")[98],
        "longest, ms": times[-1],
    }
    results.put("health", [row], model=model)
