# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Says how much is measured: everything, or just enough to show that the benchmark works."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.client import Window

SECTIONS = ("latency", "throughput", "health", "cost", "resources", "accuracy", "films")
_POSTERS = ("poster 1000x1500", "poster 500x750", "12 MP 4:3")


@dataclass(frozen=True)
class Plan:
    """Says what is measured, and how often."""

    #: sizes of photos whose latency is measured, by model
    latency: dict[str, tuple[str, ...]]
    #: sizes of photos for which the cost of more pixels is measured
    cost: tuple[str, ...]
    #: how many turns each contender has
    rounds: int
    #: how many turns Twinlens has for throughput where it runs alone
    rounds_alone: int
    #: how long a turn lasts; a turn has as many requests, one after the other, as fit
    turn_seconds: float
    #: requests before the first turn, which warm up threads and buffers
    warm_requests: int
    window: Window
    #: size of the photos that many clients send, by model
    usual: dict[str, str]
    clients: tuple[int, ...]
    #: numbers of clients at which the references are measured, too
    compared_at: tuple[int, ...]
    workers: tuple[int, ...]
    health_seconds: float
    #: sets of models that one service serves when memory and start-up are measured
    together: tuple[tuple[str, ...], ...]
    engines: tuple[str, ...]
    #: whether references are also measured where they would be started for one figure alone
    every_reference: bool
    #: how many starts are timed; if several, an uncounted start comes first and does one-time work
    starts: int
    #: sizes of photos for accuracy; times are measured only for the first size
    accuracy: tuple[str, ...]
    #: how long each shape of matrix is multiplied
    ceiling_seconds: float
    #: width and height of a film, and its frames for Twinlens and for the reference
    film_size: tuple[int, int]
    film_frames: int
    film_frames_reference: int


FULL = Plan(
    latency={
        "small": (
            "12 MP 4:3",
            "12 MP 3:4",
            "24 MP 3:2",
            "1920x1080",
            "poster 1000x1500",
            "poster 500x750",
        ),
        "base": ("12 MP 4:3",),
        "large": ("12 MP 4:3",),
        "ViT-B-16": _POSTERS,
        "ViT-L-14": _POSTERS,
        "siglip2-b16-256": ("poster 1000x1500",),
        "da3-small": ("12 MP 4:3",),
    },
    cost=("0.3 MP", "1 MP", "2 MP", "6 MP", "12 MP 4:3", "24 MP 4:3"),
    rounds=3,
    rounds_alone=1,
    turn_seconds=1.0,
    warm_requests=5,
    window=Window(seconds=4, answers=24, lead_in=0.5),
    usual={"small": "12 MP 4:3", "ViT-B-16": "poster 1000x1500", "ViT-L-14": "poster 1000x1500"},
    clients=(1, 2, 4, 8, 16, 64),
    compared_at=(1, 8),
    workers=(1, 2),
    health_seconds=15,
    together=(("small", "ViT-B-16"), ("ViT-L-14",), ("base",), ("large",)),
    engines=("openvino", "torch"),
    every_reference=True,
    starts=2,
    accuracy=("12 MP 4:3", "poster 1000x1500"),
    ceiling_seconds=0.7,
    film_size=(1920, 1080),
    film_frames=250,
    film_frames_reference=12,
)
QUICK = Plan(
    latency={"small": ("poster 500x750",), "ViT-B-16": ("poster 500x750",)},
    cost=("0.3 MP",),
    rounds=1,
    rounds_alone=1,
    turn_seconds=0.1,
    warm_requests=1,
    window=Window(seconds=0.2, answers=3, lead_in=0),
    usual={"small": "poster 500x750", "ViT-B-16": "poster 500x750"},
    clients=(1, 2),
    compared_at=(1,),
    workers=(1,),
    health_seconds=1,
    together=(("small",),),
    engines=("openvino",),
    every_reference=False,
    starts=1,
    accuracy=("poster 500x750",),
    ceiling_seconds=0.01,
    film_size=(160, 90),
    film_frames=6,
    film_frames_reference=2,
)
