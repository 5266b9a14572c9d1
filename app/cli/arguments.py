# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines and parses the arguments of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from app.cli.search_arguments import add_search
from app.errors import BadRequest
from app.rendering.options import FORMAT_ALIASES, DepthOptions, Format
from app.rendering.scene_options import SceneFormat, SceneOptions
from app.video.options import DepthFilmOptions, StereoFilmOptions
from config.families import FAMILIES
from config.values import PrecisionSetting

JOBS = 64
_MOST_JOBS = 1024
_LARGEST_EDGE = 4096

# Descriptions of options that differ from those of the routes, or mention another route.
_VIDEO_HELP = {
    "output_format": "mp4 (default): a film with the sound of the original; mkv: the same, depth "
    "by default with 16-bit grey frames without loss (FFV1); zip: depth as 8-bit grey PNG files",
    "codec": "h264 (default of mp4 and of 3D films), hevc, av1, vp9; of depth in mkv also ffv1 "
    "(default)",
    "stereo": "sbs: both views side by side; tb: the left eye's view above the right eye's; "
    "half-sbs, half-tb: the same with views of half the width or height; cross: the right eye's "
    "view on the left; anaglyph: for red-cyan glasses; left, right: one eye's view",
}

_ABOUT = """\
Turns folders of photos into depth maps or vectors, finds pictures by words, makes films 3D, and
downloads and manages models, without a server.
Settings are the service's (environment, CONFIG_FILE). Run the same command again to continue after
an interruption: what is done is skipped, and what failed is tried again (with Parquet, only if you
add --retry-errors). Files of a folder whose first bytes are not those of a picture are counted and
left out; LOG_LEVEL=INFO names them.
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
        "failed are listed in OUT/errors.txt, too. Of other sources than files and folders, or "
        "with --shard, OUT/done/ lists each picture with its map or error as Parquet "
        "(docs/library.md).",
    )
    _add_common(
        depth, "folder for the maps or scenes; it is made. Or an address, such as s3://bucket/maps/"
    )
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
        description="A vector of each image: rows of Parquet with the columns that docs/library.md "
        "describes; or a line of JSON, keyed by its path as given here, of files and folders only. "
        "Pictures that failed are rows with an error; of lines of JSON they are listed in "
        "OUT.errors.txt.",
    )
    _add_common(
        embed,
        "a .parquet file; or a folder/ of parts, also at an address such as s3://bucket/vectors/; "
        "a .jsonl file; or .npz, made of the .jsonl beside it when all is done",
    )
    embed.add_argument(
        "--format",
        choices=("parquet", "clip-retrieval"),
        help="clip-retrieval: the folder -o gets img_emb/ and metadata/ as that program reads them",
    )
    embed.add_argument(
        "--float32", action="store_true", help="vectors of Parquet in float32 (default: float16)"
    )
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
    add_search(commands)
    _add_video(commands)
    _add_download(commands)
    _add_models(commands)
    arguments, others = parser.parse_known_args(argv)
    # argparse takes words only in one place, but people write options between them.
    if arguments.command == "search" and not any(each.startswith("-") for each in others):
        arguments.texts += others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return arguments


def _add_video(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    video = commands.add_parser(
        "video",
        help="a depth film or a 3D film of each film",
        description="A depth film of each film, or with --stereo a 3D film, one after the other. "
        "Files of a folder are recognised as films by their first bytes. A result that exists is "
        "not made again.",
    )
    video.add_argument(
        "films", nargs="+", type=_path, metavar="FILM_OR_DIR", help="a film, or a folder with films"
    )
    _add_everything(video)
    video.add_argument(
        "-o",
        "--out",
        required=True,
        type=_path,
        help="for one film: a file that ends in .mp4, .mkv or .zip; else a folder, which gets "
        "<path below its folder>/<name>_depth.mp4, or a name by which players recognise 3D films, "
        "and errors.txt",
    )
    video.add_argument("--model", help="key of the model (default: as the service's settings say)")
    both = DepthFilmOptions.model_fields.keys() & StereoFilmOptions.model_fields.keys()
    groups = (
        (video.add_argument_group("all films"), DepthFilmOptions, True),
        (video.add_argument_group("depth films"), DepthFilmOptions, False),
        (video.add_argument_group("3D films"), StereoFilmOptions, False),
    )
    for group, options, is_for_both in groups:
        for name, field in options.model_fields.items():
            if (name in both) == is_for_both and name not in ("format", "batch_size"):
                group.add_argument(
                    f"--{name.replace('_', '-')}",
                    action="store_true" if field.annotation is bool else "store",
                    help=_VIDEO_HELP.get(name, field.description),
                )


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
    check.add_argument(
        "--precision",
        choices=get_args(PrecisionSetting),
        help="compute in this one instead of the setting PRECISION",
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
    named = given.get("format", "png")
    format_ = FORMAT_ALIASES.get(named, named)
    if format_ not in (*get_args(Format), *get_args(SceneFormat)):
        allowed = ", ".join((*get_args(Format), *get_args(SceneFormat)))
        raise BadRequest(f"--format: allowed: {allowed}", title="Invalid option")
    is_scene = format_ in get_args(SceneFormat)
    kind: type[DepthOptions | SceneOptions] = SceneOptions if is_scene else DepthOptions
    if others := [name for name in given if name not in kind.model_fields]:
        unusable = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        message = f"--format {format_} takes no {unusable}"
        raise BadRequest(message, title="Invalid option")
    return kind.parse(given)


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument(
        "photos",
        nargs="+",
        type=_named,
        metavar="SOURCE",
        help="a file, or a folder: each picture in it and below, but for names with a leading dot, "
        "linked folders, and what a NAS or system keeps (@eaDir, #recycle, Thumbs.db, lost+found "
        "and the like); a pattern in quotes ('photos/**/*.jpg'); a manifest (.parquet, .csv or "
        ".jsonl with the column id and one of path, url and bytes); a .tar of WebDataset; an "
        "address that fsspec opens (s3://bucket/photos/), or the http(s) address of a picture",
    )
    _add_everything(parser)
    parser.add_argument("-o", "--out", required=True, type=_named, help=out)
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="do only the part I of N (0/N to N-1/N), by a hash of each picture's id; other "
        "machines do the others into the same -o, a folder",
    )
    parser.add_argument(
        "--retry-errors",
        action="store_true",
        help="try pictures again that failed in an earlier run and are listed with their error",
    )
    parser.add_argument("--model", help="key of the model (default: as the service's settings say)")
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=JOBS,
        help="files that are under way at a time; most of them wait for the device (default: "
        "%(default)s)",
    )
    _add_cluster(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many machines (docs/scale.md)")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run as a Ray Data job: local, auto (the cluster of this machine, or RAY_ADDRESS) or "
        "HOST:PORT; all its machines see the same -o",
    )
    group.add_argument(
        "--actors",
        type=_jobs,
        help="processes that hold the model (default: one for each GPU, or for the cores of each "
        "machine)",
    )


def _add_everything(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all",
        dest="everything",
        action="store_true",
        help="take names with a leading dot, and what a NAS or system keeps, too",
    )


def _named(text: str) -> str:
    """An address that is not empty, as that of an unset variable of a shell is."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _path(text: str) -> Path:
    return Path(_named(text))


def _jobs(text: str) -> int:
    return _bounded(text, _MOST_JOBS)


def _edge(text: str) -> int:
    return _bounded(text, _LARGEST_EDGE)


def _bounded(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"allowed: 1 to {most}")
    return int(text)
