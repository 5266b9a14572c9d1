# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the latency for one client, the time of each stage, and the cost of more pixels.

The client waits for each answer before it sends the next request.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

from benchmarks.client import Answer, ask
from benchmarks.contenders import Contender
from benchmarks.inputs import MEGAPIXELS, SIZES, Photos
from benchmarks.plan import Plan
from benchmarks.results import Results, Row, ratios, spread

#: Named as in the header Server-Timing.
STAGES = ("decode", "prepare", "wait", "infer", "finish", "encode")
_WARM_SECONDS = 3.0
_MOST_IN_A_TURN = 5


def in_turns(contenders: list[Contender], size: str, plan: Plan) -> dict[str, list[list[Answer]]]:
    """Send requests to the contenders in turns; return the answers of each round by contender."""
    photos = Photos((SIZES | MEGAPIXELS)[size])
    counts = {each.name: _warm(each, photos, plan) for each in contenders}
    return _rounds(contenders, photos, counts, plan.rounds)


def _rounds(
    contenders: list[Contender], photos: Photos, counts: dict[str, int], rounds: int
) -> dict[str, list[list[Answer]]]:
    answers: dict[str, list[list[Answer]]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            turn = [ask(each, photos.next()) for _ in range(counts[each.name])]
            answers[each.name].append(turn)
    return answers


def _warm(contender: Contender, photos: Photos, plan: Plan) -> int:
    """Warm up threads and buffers with requests, and return how many requests a turn will have."""
    began = time.perf_counter()
    for _ in range(plan.warm_requests):
        seconds = ask(contender, photos.next()).seconds
        if time.perf_counter() - began > _WARM_SECONDS:
            break
    return max(1, min(_MOST_IN_A_TURN, int(plan.turn_seconds / seconds)))


def compared(answers: dict[str, list[list[Answer]]]) -> Row:
    """Return each contender's milliseconds, and the ratios of the others' to those of Twinlens."""
    times = {
        name: [statistics.median(1000 * answer.seconds for answer in turn) for turn in turns]
        for name, turns in answers.items()
    }
    row: Row = {}
    ours = times["Twinlens"]
    for name, theirs in times.items():
        row[f"{name}, ms"] = spread(theirs)
        if theirs is not ours:
            row[f"{name} / Twinlens"] = ratios(theirs, ours)
    return row


def stages(answers: Iterable[Answer]) -> Row:
    """Return the median milliseconds of each stage; "rest" is the time of HTTP and the client."""
    known = [answer for answer in answers if "infer" in answer.stages]
    if not known:
        return {}
    row: Row = {
        stage: statistics.median(answer.stages.get(stage, 0.0) for answer in known)
        for stage in STAGES
    }
    rest = [
        1000 * answer.seconds - sum(answer.stages.get(stage, 0.0) for stage in STAGES)
        for answer in known
    ]
    return row | {"rest": statistics.median(rest)}


def measure(results: Results, contenders: list[Contender], model: str, plan: Plan) -> None:
    """Measure latency, stages and the share of the ceiling for each size of photo."""
    rows: list[Row] = []
    parts: list[Row] = []
    for size in plan.latency[model]:
        answers = in_turns(contenders, size, plan)
        rows.append({"model": model, "photo": size} | compared(answers))
        part = stages(answer for turn in answers["Twinlens"] for answer in turn)
        if part:
            assert isinstance(part["infer"], float)
            share = results.share(model, size, 1000 / part["infer"])
            part |= {"GFLOP": results.gflop(model, size), "share": share}
        parts.append({"model": model, "photo": size} | part)
    results.put("latency", rows, model=model)
    results.put("stages", parts, model=model)


def measure_cost(results: Results, contenders: list[Contender], model: str, plan: Plan) -> None:
    """Measure latency against megapixels, for photos of one aspect ratio."""
    rows: list[Row] = []
    for size in plan.cost:
        width, height = MEGAPIXELS[size]
        answers = in_turns(contenders, size, plan)
        row: Row = {"model": model, "megapixels": width * height / 1e6}
        rows.append(row | compared(answers))
    results.put("cost", rows, model=model)
