# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models check``: compares a model with its reference library on this machine."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from app.cli.files import find_files
from app.cli.models import samples
from app.cli.models.references import Reference, reference_of
from app.cli.problems import Failed, Interrupted, UsageError
from app.cli.session import Stop, load, session, settings_for
from app.engines.base import FloatArray
from app.errors import TwinlensError
from app.models.base import Family
from app.pictures.canvas import spread
from app.pictures.decode import decode
from app.rendering.options import DepthOptions
from app.runtime import Runtime
from config.models import ModelSpec
from config.values import Precision

log = logging.getLogger("twinlens.cli")

_MOST_PICTURES = 10
_MOST_PIXELS = 120_000_000
_WIDTH = 44


@dataclass(frozen=True)
class Limits:
    """The largest differences that the precision explains; larger ones are mistakes."""

    cosine: float
    mean_levels: float
    most_levels: int


_EXACT = Limits(0.9999, 1.0, 3)
_HALF = Limits(0.999, 2.0, 16)


@dataclass(frozen=True)
class Comparison:
    """How the model's result for one picture or text compares with the reference's."""

    name: str
    figures: str
    is_good: bool
    #: how far apart the results are, to find the worst
    distance: float


def check(arguments: argparse.Namespace, spec: ModelSpec, stop: Stop) -> bool:
    """Compare a model with its reference and print the figures; return whether they agree.

    Raises:
        Failed, UsageError, Interrupted, SettingsError.
    """
    if spec.is_sharp:
        raise UsageError(f"{spec.key} is Apple's program itself: there is nothing to compare")
    pictures = _pictures(arguments.pictures)
    # Pictures are decoded at full size, so that only the model is compared, not the decoding.
    settings = settings_for(spec.task, 1).model_copy(update={"exact_decode": True})
    if arguments.precision is not None:
        settings = settings.model_copy(update={"precision": arguments.precision})
    # The session makes the hub's libraries work offline, so references load only what is on disk.
    with session(settings) as runtime:
        load(runtime, spec, stop)
        family = runtime.manager.family(spec)
        if family is None:
            raise Failed(f"{spec.key}: its checkpoint cannot be read")
        network = runtime.manager.status(spec).network
        assert network.precision is not None
        texts = _texts(family)
        ours, our_texts = {}, {}
        for name, picture in pictures.items():
            with _named(name):
                ours[name] = _ours(runtime, spec, picture, stop)
        for text in texts:
            with _named(text):
                our_texts[text] = _our_text(runtime, spec, text, stop)
    try:
        reference = reference_of(family)
    except Exception as error:  # the libraries raise many kinds
        log.debug("the reference cannot be loaded", exc_info=error)
        raise Failed(
            f"{spec.key}: its reference library cannot load it ({_short(error)}), so that there is "
            "nothing to compare with"
        ) from None
    limits = _EXACT if network.precision == "fp32" else _HALF
    print(f"{spec.key} ({spec.family}): {network.engine} in {network.precision}")
    if settings.precision not in ("auto", network.precision):
        print(f"{settings.precision} was asked for, but it cannot be used here")
    print(f"reference: {reference.title}, float32")
    compared = [
        _compare(name, partial(reference.image, picture), ours[name], limits, stop)
        for name, picture in pictures.items()
    ]
    compared += [
        _compare(text, partial(reference.text, text), vector, limits, stop)
        for text, vector in our_texts.items()
    ]
    return _verdict(spec, compared, limits, reference, network.precision)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Raise Failed in place of an error of the service, with the picture or text that has it."""
    try:
        yield
    except TwinlensError as error:
        raise Failed(f"{_shown(name)}: {error}") from None


def _pictures(folder: Path | None) -> dict[str, Image.Image]:
    """The program's own pictures, and up to ten from the user's folder. Raises UsageError."""
    pictures = samples.pictures()
    if folder is None:
        return pictures
    if not folder.is_dir():
        raise UsageError(f"--pictures {folder}: no such folder")
    found = 0
    for photo in find_files([folder], (), False).photos:
        with suppress(TwinlensError, OSError), photo.open() as file:
            image = decode(file, _MOST_PIXELS).image
            pictures[str(photo.place)] = (
                image if isinstance(image, Image.Image) else Image.fromarray(image)
            )
            found += 1
        if found == _MOST_PICTURES:
            break
    if not found:
        raise UsageError(f"--pictures {folder}: it has no picture")
    return pictures


def _texts(family: Family) -> tuple[str, ...]:
    """The texts to compare; none if the model has no usable text network."""
    if family.spec.task != "embedding" or "text" not in family.networks():
        return ()
    try:
        family.check_network("text")
    except Exception as error:  # the reason is shown
        print(f"no texts: {error}")
        return ()
    return samples.TEXTS


def _ours(runtime: Runtime, spec: ModelSpec, picture: Image.Image, stop: Stop) -> FloatArray:
    """The vector, or the map [h, w] of levels 0..255, that the service would give."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    file.seek(0)
    _check_stop(stop)
    if spec.task == "depth":
        made = runtime.depth.run(file, spec, DepthOptions())
        return np.asarray(Image.open(io.BytesIO(made.file)), np.float32)
    vectors = runtime.embedding.images([file], spec, normalize=True, image_size=None).vectors
    return _vector(vectors[0])


def _our_text(runtime: Runtime, spec: ModelSpec, text: str, stop: Stop) -> FloatArray:
    _check_stop(stop)
    return _vector(runtime.embedding.texts([text], spec, normalize=True).vectors[0])


def _vector(result: FloatArray | TwinlensError) -> FloatArray:
    if isinstance(result, TwinlensError):
        raise result
    return result


def _compare(
    name: str,
    compute: Callable[[], FloatArray],
    ours: FloatArray,
    limits: Limits,
    stop: Stop,
) -> Comparison:
    """Compare one result with the reference's and print the figures. Raises Failed if it fails."""
    _check_stop(stop)
    try:
        expected = compute()
    except Exception as error:  # the libraries raise many kinds
        log.debug("the reference failed", exc_info=error)
        raise Failed(f"the reference library fails at {name!r}: {_short(error)}") from None
    made = _compare_maps if expected.ndim == 2 else _compare_vectors
    figures, is_good, distance = made(expected, ours, limits)
    shown = _shown(name)
    print(f"  {shown:<{_WIDTH}}  {figures}{'' if is_good else '   differs'}", flush=True)
    return Comparison(shown, figures, is_good, distance)


def _compare_vectors(
    expected: FloatArray, ours: FloatArray, limits: Limits
) -> tuple[str, bool, float]:
    if expected.shape != ours.shape:
        return f"{ours.size} dimensions instead of {expected.size}", False, 2.0
    cosine = float(expected @ ours / (np.linalg.norm(expected) * np.linalg.norm(ours)))
    return f"cosine {cosine:.6f}", cosine >= limits.cosine, 1 - cosine


def _compare_maps(
    expected: FloatArray, ours: FloatArray, limits: Limits
) -> tuple[str, bool, float]:
    height, width = ours.shape
    levels = spread(expected, width, height).astype(np.float32)
    apart = np.abs(levels - ours)
    mean, most = float(apart.mean()), int(apart.max())
    is_good = mean <= limits.mean_levels and most <= limits.most_levels
    return f"levels apart: mean {mean:.2f}, most {most}", is_good, mean + most / 256


def _verdict(
    spec: ModelSpec,
    compared: list[Comparison],
    limits: Limits,
    reference: Reference,
    precision: Precision,
) -> bool:
    worst = max(compared, key=lambda each: each.distance)
    print(f"worst: {worst.figures} ({worst.name})")
    if spec.task == "depth":
        bounds = f"mean {limits.mean_levels:g}, most {limits.most_levels} levels"
    else:
        bounds = f"cosine {limits.cosine:g}"
    bad = sum(not each.is_good for each in compared)
    if not bad and not reference.is_independent:
        print(
            f"NOT CHECKED: no library here has the family {spec.family}. {spec.key} agrees with "
            f"its own network in float32 on torch (limit in {precision}: {bounds}), so engine and "
            "precision are right; this does not show whether the network itself is right"
        )
        return True
    if not bad:
        print(f"OK: {spec.key} agrees with {reference.title} (limit in {precision}: {bounds})")
        return True
    print(
        f"DIFFERS: {bad} of {len(compared)} are beyond the limit in {precision} ({bounds}). "
        + (
            "PRECISION=fp32 shows whether it is the precision; if it stays, please report it."
            if precision != "fp32"
            else "Do not use this model before the cause is known; please report it."
        )
    )
    return False


def _check_stop(stop: Stop) -> None:
    if stop.is_requested():
        raise Interrupted


def _shown(name: str) -> str:
    shown = " ".join(name.split())
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}…"


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
