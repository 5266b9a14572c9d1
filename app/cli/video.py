# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The command ``video``: a depth film or a 3D film of each film, one after the other."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from app.cli import outputs
from app.cli.files import Found, find_files, report_others
from app.cli.problems import Failed, UsageError
from app.cli.session import Stop, load, session, settings_for
from app.errors import BadRequest, TwinlensError
from app.lending.registry import Registry
from app.library.folders import Failure, Photo, one_line
from app.rendering import stereo_layouts
from app.runtime import Runtime
from app.video.containers import container_of
from app.video.handle import Progress
from app.video.options import DepthFilmOptions, StereoFilmOptions
from app.video.work import FilmWork
from config.logging import configure_logging
from config.models import ModelSpec
from config.settings import Settings

#: Options that only ImmichVR sends; the command line has others for the same.
NOT_OFFERED = ("format", "batch_size")
_SUFFIXES = (".mp4", ".mkv", ".zip")
# Of films that are not written; people may expect them, and not a folder of that name.
_OTHER_SUFFIXES = (".mov", ".m4v", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".gif", ".mpg", ".wmv")
# The limit of the service is there to protect it from its clients.
_LONGEST_SECONDS = 30 * 86_400.0
_ERRORS = "errors.txt"


@dataclass(frozen=True)
class Target:
    """A film, and the file that it becomes."""

    film: Photo
    path: Path


def film_work(arguments: argparse.Namespace) -> FilmWork:
    """What is to be made of each film. Raises BadRequest: options are wrong or do not fit."""
    names = dict.fromkeys((*DepthFilmOptions.model_fields, *StereoFilmOptions.model_fields))
    given = {
        name: value
        for name in names
        if name not in NOT_OFFERED and (value := getattr(arguments, name))
    }
    out: Path = arguments.out
    if _names_file(out):
        wanted = given.setdefault("output_format", out.suffix[1:].lower())
        if wanted != out.suffix[1:].lower():
            message = f"--output-format {wanted} does not fit -o {out}"
            raise BadRequest(message, title="Invalid option")
    given.setdefault("output_format", "mp4")
    is_pair = "stereo" in given
    kind: type[DepthFilmOptions | StereoFilmOptions]
    kind = StereoFilmOptions if is_pair else DepthFilmOptions
    if others := [name for name in given if name not in kind.model_fields]:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        why = "a 3D film takes no" if is_pair else "only with --stereo:"
        raise BadRequest(f"{why} {named}", title="Invalid option")
    return kind.parse(given).work()


def make_films(arguments: argparse.Namespace, stop: Stop) -> Sequence[Failure]:
    """Make all films that are not there yet; returns those that failed.

    Raises:
        UsageError, BadRequest: the arguments are wrong; nothing was done.
        SettingsError: the settings are wrong.
        Failed, Interrupted: it cannot go on, or the user asked to stop.
    """
    out: Path = arguments.out
    if not out.is_dir() and out.suffix.lower() in _OTHER_SUFFIXES:
        raise UsageError(f"-o {out}: give a file that ends in .mp4, .mkv or .zip, or a folder")
    work = film_work(arguments)
    settings = _patient(settings_for("depth", 1))
    registry = Registry(settings)
    key = arguments.model
    spec = registry.get(key, "depth") if key else registry.default("depth")
    found = find_files(arguments.films, (out,), arguments.everything)
    films = [each for each in found.photos if each.is_named or _may_be_film(each)]
    targets = _targets(films, out, work)
    _open_folder(out)
    configure_logging(settings)
    left = [each for each in targets if not each.path.exists()]
    failures = list(found.failures)
    if left:
        with session(settings) as runtime, logging_redirect_tqdm():
            load(runtime, spec, stop)
            for target in left:
                if failure := _make(target, runtime, spec, work, stop):
                    failures.append(failure)
                if stop.is_requested():
                    break
    if not _names_file(out):
        outputs.list_failures(failures, out / _ERRORS)
    _report(targets, left, failures, found)
    return failures


def _patient(settings: Settings) -> Settings:
    """The settings without the limit on the time for a film, unless the user has set one."""
    if "video_max_seconds" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"video_max_seconds": _LONGEST_SECONDS})


def _names_file(out: Path) -> bool:
    return out.suffix.lower() in _SUFFIXES and not out.is_dir()


def _targets(films: Sequence[Photo], out: Path, work: FilmWork) -> list[Target]:
    """The file for each film. Raises UsageError."""
    if _names_file(out):
        if len(films) != 1 or not films[0].is_named:
            raise UsageError(f"-o {out}: a file is for one film; give a folder for several")
        if out.exists() and films[0].path.exists() and out.samefile(films[0].path):
            raise UsageError(f"{out} cannot be both input and output")
        return [Target(films[0], out)]
    ending = _ending(work)
    targets: dict[Path, Target] = {}
    for film in films:
        # The name keeps the film's suffix, because a.mov and a.mp4 may lie in the same folder.
        path = out / film.place.with_name(f"{film.place.name}{ending}")
        other = targets.setdefault(path, Target(film, path)).film
        if other is not film:
            raise UsageError(
                f"{other.path} and {film.path} would both become {path}: "
                "give them one after the other, each with its own -o"
            )
    return list(targets.values())


def _ending(work: FilmWork) -> str:
    """What follows the name of a film in the name of the file that it becomes."""
    mark = "_depth" if work.stereo == "none" else stereo_layouts.ending(work)
    return f"{mark}.{work.output}"


def _may_be_film(file: Photo) -> bool:
    """Whether the first bytes are those of a film.

    Also true for a file that cannot be read, so that working on it reports the error.
    """
    try:
        opened = file.open()
    except BadRequest:
        return True
    with opened:
        try:
            container_of(opened)
        except BadRequest:
            return False
        except OSError:
            return True
    return True


def _open_folder(out: Path) -> None:
    """Create the folder of the output, and keep other runs from it. Raises UsageError."""
    try:
        if _names_file(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            return
        out.mkdir(parents=True, exist_ok=True)
        # The descriptor is never closed, so that the folder is locked until the process ends.
        outputs.lock(os.open(out, os.O_RDONLY), out)
    except OSError as error:
        raise UsageError(f"-o {out}: cannot be written ({error.strerror})") from None


def _make(
    target: Target, runtime: Runtime, spec: ModelSpec, work: FilmWork, stop: Stop
) -> Failure | None:
    """Make one film. Raises Failed if the disk does not take it."""
    path = target.path
    name = one_line(target.film.path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(desc=name, unit="frame", disable=None) as bar:

            def show(progress: Progress) -> None:
                bar.total = progress.total
                bar.update(progress.frames - bar.n)

            film = runtime.video.run(target.film.open(), spec, work, stop.is_requested, show)
            with outputs.writing(path) as file:
                for chunk in film.chunks:
                    file.write(chunk)
        for warning in film.warnings:
            print(f"{name}: {warning}", file=sys.stderr)
    except TwinlensError as error:
        return None if stop.is_requested() else Failure(target.film.path, error.message)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return Failure(target.film.path, "The name of its file would be too long")
        raise Failed(f"{path} cannot be written ({error.strerror})") from None
    return None


def _report(
    targets: Sequence[Target], left: Sequence[Target], failures: Sequence[Failure], found: Found
) -> None:
    """Say what was done, and what failed."""
    for failure in failures:
        print(failure, file=sys.stderr)
    done = sum(each.path.exists() for each in left)
    films = "1 film" if len(targets) == 1 else f"{len(targets)} films"
    before = len(targets) - len(left)
    print(f"{films}: {done} done, {before} done before, {len(failures)} failed", file=sys.stderr)
    report_others(len(found.photos) - len(targets), found.left_out, "film")
