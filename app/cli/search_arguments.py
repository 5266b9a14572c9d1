# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Arguments of the command ``search``, and which of them make sense together."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from app.cli.problems import UsageError

_K = 20
_K_TAGS = 5
_MOST_K = 10_000
_DUPLICATES = 0.95
_TEMPLATE = "a photo of {}"

_ABOUT = """\
Finds pictures by words or by other pictures, in what embed has written. The best ones are printed
as "cosine, path". All vectors are compared, so nothing is missed.
With --duplicates: groups of near-equal pictures. With --tags: labels for all pictures."""


def add_search(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    search = commands.add_parser(
        "search",
        help="find pictures again, by words or pictures; duplicates; labels",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    search.add_argument(
        "vectors",
        metavar="VECTORS",
        help="a file of embed (.parquet, .jsonl, .npz), or a folder of .parquet files",
    )
    search.add_argument("texts", nargs="*", metavar="TEXT", help="words, as one argument")
    search.add_argument(
        "--image",
        dest="images",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="find pictures like this one; may be repeated",
    )
    search.add_argument(
        "-k",
        type=_count,
        help=f"pictures for each query (default: {_K}), or labels for each picture "
        f"(default: {_K_TAGS})",
    )
    search.add_argument(
        "--threshold",
        type=_number,
        help="the lowest cosine; with --tags the lowest score of a label (default: none, with "
        f"--duplicates {_DUPLICATES})",
    )
    search.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pictures")
    search.add_argument("--json", action="store_true", help="print JSON, for programs")
    search.add_argument(
        "--duplicates", action="store_true", help="groups of near-equal pictures, largest first"
    )
    search.add_argument(
        "--tags", type=Path, metavar="FILE", help="label all pictures; a label a line"
    )
    search.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="of --tags: a .parquet file for the labels"
    )
    search.add_argument(
        "--template",
        dest="templates",
        action="append",
        metavar="TEXT",
        help="of --tags: the sentence that a label is put into, in place of {}; of several, the "
        f"mean is taken (default: {_TEMPLATE!r})",
    )


def checked(arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse options that have no meaning together, and fill in defaults. Raises UsageError."""
    queries = arguments.texts or arguments.images
    if arguments.duplicates and arguments.tags:
        raise UsageError("--duplicates and --tags do not go together: run one after the other")
    if arguments.duplicates:
        _refuse("--duplicates", arguments, "texts", "images", "k", "out", "templates")
        if arguments.threshold is None:
            arguments.threshold = _DUPLICATES
    elif arguments.tags:
        _refuse("--tags", arguments, "texts", "images", "html", "json")
        if arguments.out is None or arguments.out.suffix != ".parquet":
            raise UsageError("--tags needs -o: a name that ends in .parquet")
        arguments.k = arguments.k or _K_TAGS
        arguments.templates = arguments.templates or [_TEMPLATE]
        if without := [each for each in arguments.templates if "{}" not in each]:
            raise UsageError(f"--template {without[0]!r} has no {{}} for the label")
    elif not queries:
        raise UsageError("say what to find: words, or --image FILE; or --duplicates, or --tags")
    else:
        _refuse("a search", arguments, "out", "templates")
        arguments.k = arguments.k or _K
        if arguments.threshold is None:
            arguments.threshold = -math.inf
    _check_outputs(arguments)
    return arguments


_SHOWN = {"texts": "words", "images": "--image", "k": "-k", "out": "-o", "templates": "--template"}


def _refuse(mode: str, arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(arguments, name):
            raise UsageError(f"{mode} takes no {_SHOWN.get(name, f'--{name}')}")


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse to overwrite what is read, and to write among the parts of a library."""
    tags = [arguments.tags] if arguments.tags else []
    inputs = [Path(arguments.vectors), *arguments.images, *tags]
    for option, out in (("-o", arguments.out), ("--html", arguments.html)):
        if out is None:
            continue
        place = Path(os.path.realpath(out))
        for each in inputs:
            source = Path(os.path.realpath(each))
            if place == source or (each.is_dir() and source in place.parents):
                raise UsageError(
                    f"{option} {out} would write to {each}, which is read: take another name"
                )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST_K):
        raise argparse.ArgumentTypeError(f"allowed: 1 to {_MOST_K}")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not -1 <= number <= 1:
        raise argparse.ArgumentTypeError("allowed: -1 to 1")
    return number
