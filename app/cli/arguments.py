# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines and parses the arguments of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from app.errors import BadRequest
from app.rendering.options import DepthOptions, Format
from app.rendering.scene_options import SceneFormat, SceneOptions
from config.families import FAMILIES

JOBS = 64
_MOST_JOBS = 1024
_LARGEST_EDGE = 4096

_ABOUT = """\
Photos of folders to depth maps or vectors, without a server; models on disk before they are needed.
Settings are the service's (environment, CONFIG_FILE). Run the same command again to go on after an
interruption: what is done is skipped, what failed is tried again. Files of a folder that are no
pictures by their first bytes are counted, not tried; LOG_LEVEL=INFO names them.
exit status: 0 all done, 1 something failed or it could not go on, 2 wrong usage, 78 wrong settings,
130 interrupted"""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    depth = commands.add_parser(
        "depth",
        help="a depth map or a 3D scene of each photo",
        description="A depth map of each photo: OUT/<path below its folder>/<name>.png, where the "
        "name keeps its own suffix; or with --format ply, splat, spz or glb a 3D scene. Files that "
        "failed are listed in OUT/errors.txt, too.",
    )
    _add_common(depth, "folder for the maps or scenes; it is made")
    maps = depth.add_argument_group("depth maps and stereo pairs")
    scenes = depth.add_argument_group("3D scenes")
    for name, field in DepthOptions.model_fields.items():
        description = field.description
        if name == "format":
            description = (
                f"{description}; a 3D scene: {SceneOptions.model_fields[name].description}"
            )
        _add_option(maps, name, field, description)
    for name, field in SceneOptions.model_fields.items():
        if name not in DepthOptions.model_fields:
            _add_option(scenes, name, field, field.description)

    embed = commands.add_parser(
        "embed",
        help="a vector of each image",
        description="A vector of each image as a line of JSON, keyed by its path as given here. "
        "Files that failed are listed in OUT.errors.txt, too.",
    )
    _add_common(embed, "a .jsonl file; or .npz, made of the .jsonl beside it when all is done")
    embed.add_argument(
        "--image-size",
        type=_edge,
        metavar="PIXELS",
        help="bring the shortest edge to this first (default: the model's own)",
    )
    embed.add_argument(
        "--no-normalize",
        dest="normalize",
        action="store_false",
        help="do not bring vectors to L2 norm 1",
    )
    _add_download(commands)
    _add_models(commands)
    return parser.parse_args(argv)


def _add_download(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    download = commands.add_parser(
        "download",
        help="models on disk, verified",
        description="Brings models into the cache (HF_HUB_CACHE), or verifies every byte of what "
        "is there against the checksums that were recorded when it came (twinlens.lock.json in the "
        "cache). With HF_HUB_OFFLINE=1 it says what is missing. A line on stdout for each: key, "
        "repository, commit, bytes, and downloaded, copied, recorded (nothing was known to compare "
        "it with) or verified.",
    )
    download.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="key of a model (default: those that the service answers with, DEPTH_MODEL and "
        "DEFAULT_MODEL)",
    )
    download.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="fill this folder, to carry it to a machine without network: from the cache what it "
        "has, the rest from the hub",
    )
    download.add_argument(
        "--update",
        action="store_true",
        help="take the commit that the hub has today instead of the recorded one",
    )


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser(
        "models",
        help="list, add, check and remove models",
        description="The table of models: the built-in rows, and your own ones in MODELS_FILE "
        "(unset: twinlens-models.toml in HF_HUB_CACHE, which the service reads, too).",
    )
    actions = models.add_subparsers(dest="action", required=True)
    shown = actions.add_parser("list", help="all models, and what is on disk of each")
    shown.add_argument("--json", action="store_true", help="for programs")

    add = actions.add_parser(
        "add",
        help="add a model: a repository of the hub, or a folder",
        description="Finds out from the checkpoint's own small files which family it belongs to "
        "and whether that can use it, and writes a row. Weights are not downloaded.",
    )
    add.add_argument("key", metavar="KEY", help="what clients will write, as in ?model=KEY")
    add.add_argument(
        "source", metavar="HUB_ID_OR_PATH", help="OWNER/NAME, the address of its page, or a folder"
    )
    add.add_argument("--revision", help="branch, tag or commit (default: main)")
    add.add_argument(
        "--family", choices=tuple(FAMILIES), help="use this one instead of the one that is found"
    )
    add.add_argument("--name", help="what people read (default: the repository's name)")
    add.add_argument("--license", help="instead of what its model card states")
    add.add_argument(
        "--activation",
        choices=("gelu", "quick_gelu"),
        help="of a CLIP checkpoint that does not state it",
    )
    add.add_argument(
        "--replace", action="store_true", help="replace the row with this key, if there is one"
    )

    check = actions.add_parser(
        "check",
        help="compare a model with its reference library",
        description="Computes pictures and texts with the service's own code, engine and "
        "precision, and with the library that the checkpoint was published for. Prints the "
        "figures; exit status 1 if they differ by more than the precision explains.",
    )
    check.add_argument("key", metavar="KEY")
    check.add_argument(
        "--pictures", type=Path, metavar="DIR", help="take up to ten pictures of this folder, too"
    )

    remove = actions.add_parser(
        "remove",
        help="delete a model's files, and its row if you added it",
        description="Files of a folder of your own stay, and so do built-in rows.",
    )
    remove.add_argument("key", metavar="KEY")
    remove.add_argument("--yes", action="store_true", help="do not ask")


def _add_option(
    group: argparse._ArgumentGroup, name: str, field: FieldInfo, description: str | None
) -> None:
    assert description is not None
    option = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        group.add_argument(option, action="store_true", help=description)
    elif field.default is None:
        group.add_argument(option, help=description)
    else:
        group.add_argument(option, help=f"{description} (default: {field.default})")


def depth_options(arguments: argparse.Namespace) -> DepthOptions | SceneOptions:
    """The options of a map or of a scene that were given. Raises BadRequest."""
    names = [*DepthOptions.model_fields, *SceneOptions.model_fields]
    given = {name: each for name in names if (each := getattr(arguments, name))}
    format_ = given.get("format", "png")
    if format_ not in (*get_args(Format), *get_args(SceneFormat)):
        allowed = ", ".join((*get_args(Format), *get_args(SceneFormat)))
        raise BadRequest(f"--format: allowed: {allowed}", title="Invalid option")
    is_scene = format_ in get_args(SceneFormat)
    kind: type[DepthOptions | SceneOptions] = SceneOptions if is_scene else DepthOptions
    if others := [name for name in given if name not in kind.model_fields]:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        message = f"--format {format_} takes no {named}"
        raise BadRequest(message, title="Invalid option")
    return kind.parse(given)


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument(
        "photos",
        nargs="+",
        type=Path,
        metavar="PHOTO_OR_DIR",
        help="a file, or a folder: each picture in it and below, but for names with a leading dot, "
        "linked folders, and what a NAS or system keeps (@eaDir, #recycle, Thumbs.db, lost+found "
        "and the like)",
    )
    parser.add_argument(
        "--all",
        dest="everything",
        action="store_true",
        help="take names with a leading dot, and what a NAS or system keeps, too",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, help=out)
    parser.add_argument("--model", help="key of the model (default: as the service's settings say)")
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=JOBS,
        help="files that are under way at a time; most of them wait for the device (default: "
        "%(default)s)",
    )


def _jobs(text: str) -> int:
    return _bounded(text, _MOST_JOBS)


def _edge(text: str) -> int:
    return _bounded(text, _LARGEST_EDGE)


def _bounded(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"allowed: 1 to {most}")
    return int(text)
