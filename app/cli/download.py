# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app download``: models on disk before they are needed, also for other machines."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from app.cli.problems import Failed, Interrupted, UsageError
from app.cli.provision import Brought, Plan, bring
from app.cli.session import Stop, quiet
from app.hub.downloads import ONLINE
from app.hub.milestones import Milestones
from app.lending.registry import Registry
from config.logging import configure_logging
from config.models import ModelSpec
from config.settings import Settings, load_settings

_LOOK_SECONDS = 0.2


def download(arguments: argparse.Namespace, stop: Stop) -> int:
    """Bring the models; the number of those that failed.

    Raises:
        SettingsError, UsageError, Interrupted.
    """
    settings = quiet(load_settings())
    configure_logging(settings)
    specs = _chosen(arguments.models, settings)
    plan = _plan(arguments, settings)
    if not plan.offline:
        os.environ.update(ONLINE)
    failed = 0
    for spec in specs:
        if spec.is_built_in:
            _say(f"{spec.key} is a part of the program: there is nothing to download")
            continue
        try:
            with logging_redirect_tqdm():
                brought = _watched(spec, plan, stop)
        except Failed as error:
            _say(str(error))
            failed += 1
        else:
            size = sum(file.size for file in brought.record.files.values())
            columns = (spec.key, spec.hub_id, brought.record.commit, size, brought.how)
            print(*columns, sep="\t", flush=True)
    if arguments.output is not None and not failed:
        _say(_what_to_copy(plan.cache, specs))
    return failed


def _chosen(names: Sequence[str], settings: Settings) -> list[ModelSpec]:
    """Each once. Raises UsageError: unknown."""
    if not names:
        return list(Registry(settings).defaults.values())
    known = {spec.key: spec for spec in settings.table().model}
    unknown = [repr(name) for name in names if name not in known]
    if unknown:
        raise UsageError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    """Raises UsageError."""
    present = settings.hf_hub_cache.absolute()
    cache: Path = present if arguments.output is None else arguments.output.absolute()
    source = present if cache.resolve() != present.resolve() else None
    offline = settings.hf_hub_offline
    if arguments.update and offline and source is None:
        raise UsageError("--update asks the hub, but HF_HUB_OFFLINE is set")
    if arguments.output is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {cache}: cannot be made ({error.strerror})") from None
    return Plan(cache, source, offline, arguments.update)


def _watched(spec: ModelSpec, plan: Plan, stop: Stop) -> Brought:
    """Bring one in a thread that nobody has to wait for. Raises Failed, Interrupted."""
    result: Future[Brought] = Future()
    seen = (0, 0)
    milestones = Milestones()

    def progress(_name: str, done: int, total: int) -> None:
        nonlocal seen
        seen = done, total

    def work() -> None:
        try:
            result.set_result(bring(spec, plan, progress))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, name=f"bring-{spec.key}", daemon=True).start()
    with tqdm(desc=spec.key, unit="B", unit_scale=True, disable=None) as bar:
        while True:
            wait([result], _LOOK_SECONDS)
            bar.n, bar.total = seen
            bar.refresh()
            # Without a terminal there is no bar.
            if bar.disable and (told := milestones.line(*seen)):
                _say(f"{spec.key}: {told}")
            if result.done():
                return result.result()
            if stop.is_asked():
                raise Interrupted


def _what_to_copy(folder: Path, specs: Sequence[ModelSpec]) -> str:
    keys = " ".join(spec.key for spec in specs if not spec.is_built_in)
    return (
        f"Copy all of {shlex.quote(str(folder))} to the other machine, with its links (tar, rsync "
        "-a, cp -a), and there\n"
        f"  check it:  HF_HUB_CACHE=COPY HF_HUB_OFFLINE=1 python -m app download {keys}\n"
        "  use it:    HF_HUB_CACHE=COPY HF_HUB_OFFLINE=1 gunicorn\n"
        "  or mount it at /cache/hub of a container, with HF_HUB_OFFLINE=1"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
