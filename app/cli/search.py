# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The command ``search``: pictures like words or pictures, duplicates, labels."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from app.cli import outputs, sheet
from app.cli.problems import Failed, Interrupted, UsageError
from app.cli.queries import embedder
from app.cli.search_arguments import checked
from app.cli.session import Stop, settings_for
from app.cli.sheet import Hit, Section
from app.engines.base import FloatArray
from app.library import labels
from app.library.folders import one_line
from app.library.groups import estimate, groups
from app.library.nearest import Matches, nearest
from app.library.reading import Vectors, open_vectors
from config.logging import configure_logging
from config.settings import Settings

# Requests that may wait at a time; batches are computed one after the other.
_JOBS = 64
_SLOW_SECONDS = 10
# Pictures of a group on a page: they look alike, and other groups shall be seen, too.
_MOST_ALIKE = 50


def search(arguments: argparse.Namespace, stop: Stop) -> None:
    """Run the command.

    Raises:
        UsageError, BadRequest: wrong arguments, files or queries.
        Failed: the model cannot be loaded, or an output not be written.
        Interrupted: the user asked to stop.
        SettingsError: the settings are wrong.
    """
    arguments = checked(arguments)
    settings = settings_for("embedding", _JOBS)
    configure_logging(settings)
    vectors = open_vectors(arguments.vectors)
    if arguments.tags:
        _label(arguments, vectors, settings, stop)
        return
    if arguments.duplicates:
        sections = _find_groups(arguments, vectors, stop)
    else:
        sections = _find(arguments, vectors, settings, stop)
    if arguments.html:
        _write_page(arguments, vectors, sections, settings, stop)
    with _printing():
        if arguments.json:
            _print_json(sections, vectors, arguments.duplicates)
        else:
            _print_text(sections)


# -- queries ---------------------------------------------------------------------------------------


def _find(
    arguments: argparse.Namespace, vectors: Vectors, settings: Settings, stop: Stop
) -> list[Section]:
    images: list[Path] = arguments.images
    for path in images:
        if not path.is_file():
            raise UsageError(f"{path} does not exist, or is not a file")
    texts: list[str] = arguments.texts
    queries: list[FloatArray] = []
    with embedder(vectors, settings, stop, images=bool(images)) as model:
        if texts:
            queries.append(model.texts(texts))
        if images:
            queries.append(model.images(images))
    stacked = np.concatenate(queries)
    _check_dims(vectors, stacked)
    matches, unusable = nearest(
        vectors, stacked, arguments.k, arguments.threshold, _check_cancelled(stop)
    )
    _say_searched(vectors, unusable)
    sections = [Section(text) for text in texts] + [Section(str(p), picture=p) for p in images]
    for section, found in zip(sections, matches, strict=True):
        section.hits = _hits(vectors, found)
    return sections


def _hits(vectors: Vectors, found: Matches) -> list[Hit]:
    names = vectors.names(found.rows)
    return [Hit(*name, float(score)) for name, score in zip(names, found.scores, strict=True)]


def _check_dims(vectors: Vectors, queries: FloatArray) -> None:
    if queries.shape[1] != vectors.dims:
        raise UsageError(
            f"{vectors.name} has vectors of {vectors.dims} dimensions, its model "
            f"{vectors.made_with.model} makes {queries.shape[1]}: the model has changed since"
        )


# -- duplicates ------------------------------------------------------------------------------------


def _find_groups(arguments: argparse.Namespace, vectors: Vectors, stop: Stop) -> list[Section]:
    seconds = estimate(vectors.count, vectors.dims)
    if seconds > _SLOW_SECONDS:
        pairs = vectors.count * (vectors.count - 1) // 2
        _say(f"{vectors.count:,} pictures are {pairs:,} pairs: about {_duration(seconds)}")
    check_cancelled = _check_cancelled(stop)
    with tqdm(total=100, unit="%", disable=None, delay=2) as bar:

        def on_progress(part: float) -> None:
            check_cancelled()
            bar.update(round(100 * part, 1) - bar.n)

        found, unusable = groups(vectors, arguments.threshold, on_progress)
    _say_searched(vectors, unusable)
    repeats = sum(len(group.rows) - 1 for group in found)
    if found:
        _say(f"groups: {len(found)}; pictures beyond the first of each: {repeats}")
    else:
        _say(f"no two pictures are that alike (--threshold {arguments.threshold:g})")
    # Names are read once for all groups, which may be many.
    rows = [row for group in found for row in group.rows.tolist()]
    names = iter(vectors.names(np.array(rows, np.int64)))
    return [
        Section(
            f"group {number}: {len(group.rows)} pictures",
            [Hit(*next(names), float(score)) for score in group.scores],
        )
        for number, group in enumerate(found, 1)
    ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


# -- labels ----------------------------------------------------------------------------------------


def _label(arguments: argparse.Namespace, vectors: Vectors, settings: Settings, stop: Stop) -> None:
    tags = _tags(arguments.tags)
    with embedder(vectors, settings, stop, images=False) as model:
        means = np.zeros((len(tags), vectors.dims), np.float32)
        for template in arguments.templates:
            each = model.texts([template.replace("{}", tag) for tag in tags])
            _check_dims(vectors, each)
            means += each
        scoring = model.scoring()
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found = labels.label(vectors, means, scoring, arguments.k)
    out: Path = arguments.out
    try:
        count, unusable = labels.write(
            out, vectors, tags, found, scoring, arguments.threshold, _check_cancelled(stop)
        )
    except OSError as error:
        raise Failed(f"{out} cannot be written ({error.strerror})") from None
    _say_searched(vectors, unusable)
    how = {
        "softmax": f"softmax of cosines with the model's own scale, {scoring.scale:.4g}",
        "sigmoid": "sigmoid of cosines with the model's own scale and bias",
        "cosine": "cosines, because the checkpoint has no scale for probabilities",
    }
    _say(f"{count} rows in {out}; scores: {how[scoring.kind]}")


def _tags(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--tags {path}: it cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"--tags {path}: it is no text in UTF-8") from None
    tags = list(dict.fromkeys(stripped for line in lines if (stripped := line.strip())))
    if not tags:
        raise UsageError(f"--tags {path}: it has no labels")
    return tags


# -- output ----------------------------------------------------------------------------------------


@contextmanager
def _printing() -> Iterator[None]:
    """Print to a reader that may have seen enough, as ``head``. Raises Failed on a full disk."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What waits to be printed would raise the same again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failed(f"the result cannot be written ({error.strerror})") from None


def _print_text(sections: Sequence[Section]) -> None:
    for number, section in enumerate(sections):
        if len(sections) > 1 or section.title.startswith("group "):
            print(f"{chr(10) if number else ''}# {one_line(section.title)}")
        for hit in section.hits:
            print(f"{hit.score:.4f}  {one_line(hit.path)}")


def _print_json(sections: Sequence[Section], vectors: Vectors, are_groups: bool) -> None:
    def hits(section: Section) -> list[dict[str, Any]]:
        return [{"score": hit.score, "id": hit.id, "path": hit.path} for hit in section.hits]

    head = {
        "vectors": vectors.name,
        "model": vectors.made_with.model,
        "revision": vectors.made_with.revision,
        "searched": vectors.count,
        "failed": vectors.failed,
    }
    found: dict[str, Any]
    if are_groups:
        found = {"groups": [{"pictures": hits(section)} for section in sections]}
    else:
        found = {
            "queries": [
                {"image" if section.picture else "text": section.title, "matches": hits(section)}
                for section in sections
            ]
        }
    print(json.dumps(head | found, indent=2))


def _write_page(
    arguments: argparse.Namespace,
    vectors: Vectors,
    sections: Sequence[Section],
    settings: Settings,
    stop: Stop,
) -> None:
    path: Path = arguments.html
    try:
        with outputs.writing(path) as file:
            shown = sheet.write(
                file,
                sections,
                f"{vectors.name}: {vectors.count} pictures, {vectors.made_with.model}",
                settings.max_image_pixels,
                most_each=_MOST_ALIKE if arguments.duplicates else sheet.MOST,
                check_cancelled=_check_cancelled(stop),
            )
    except OSError as error:
        raise Failed(f"{path} cannot be written ({error.strerror})") from None
    found = sum(len(section.hits) for section in sections)
    if shown < found:
        _say(f"{path} shows {shown:,} of {found:,} pictures; all are listed here")


def _say_searched(vectors: Vectors, unusable: int) -> None:
    text = f"{vectors.count} pictures searched, vectors of {vectors.made_with.model}"
    if vectors.failed:
        text += f"; {vectors.failed} failed when they were embedded, and are left out"
    if vectors.repeated:
        text += f"; {vectors.repeated} rows repeat an id"
    if unusable:
        text += f"; {unusable} vectors are all zeros or not finite, and are left out"
    _say(text)


def _check_cancelled(stop: Stop) -> Callable[[], None]:
    def check() -> None:
        if stop.is_requested():
            raise Interrupted

    return check


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr)
