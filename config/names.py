# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Names of settings: misspelt ones, and those of the replaced image embedder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import SequenceMatcher

#: Sections and keys of the replaced image embedder's ``config.toml``, with the variable that its
#: environment has for each.
SECTIONS = {
    "server": {
        "host": "IMAGE_EMBEDDER_HOST",
        "port": "IMAGE_EMBEDDER_PORT",
        "shutdown_timeout_seconds": "SHUTDOWN_TIMEOUT_SECONDS",
    },
    "model": {
        "default_model": "DEFAULT_MODEL",
        "device": "DEVICE",
        "warmup_on_startup": "WARMUP_ON_STARTUP",
        "embed_cache_size": "EMBED_CACHE_SIZE",
    },
    "image": {
        "allow_remote_urls": "ALLOW_REMOTE_IMAGE_URLS",
        "allowed_remote_hosts": "ALLOWED_REMOTE_IMAGE_HOSTS",
        "max_image_bytes": "MAX_IMAGE_BYTES",
        "max_image_pixels": "MAX_IMAGE_PIXELS",
        "max_request_body_bytes": "MAX_UPLOAD_BYTES",
        "max_batch_image_bytes": "MAX_BATCH_IMAGE_BYTES",
        "max_batch_image_pixels": "MAX_BATCH_IMAGE_PIXELS",
        "request_timeout_seconds": "REQUEST_TIMEOUT_SECONDS",
    },
    "queue": {
        "concurrency": "IMAGE_EMBEDDER_CONCURRENCY",
        "max_queue": "IMAGE_EMBEDDER_MAX_QUEUE",
        "max_wait_seconds": "IMAGE_EMBEDDER_MAX_WAIT_SECONDS",
        "batch_window_ms": "EMBED_BATCH_WINDOW_MS",
        "batch_max_size": "EMBED_BATCH_MAX_SIZE",
        "batch_api_max_items": "EMBED_BATCH_API_MAX_ITEMS",
    },
    "logging": {
        "level": "LOG_LEVEL",
        "file": "LOG_FILE",
        "json_format": "LOG_JSON_FORMAT",
        "max_bytes": "LOG_MAX_BYTES",
        "backup_count": "LOG_BACKUP_COUNT",
    },
    "memory": {
        "cleanup_interval_seconds": "MEMORY_CLEANUP_INTERVAL_SECONDS",
        "max_process_memory_mb": "MAX_PROCESS_MEMORY_MB",
        "max_gpu_memory_mb": "MAX_GPU_MEMORY_MB",
        "cleanup_on_shutdown": "CLEANUP_ON_SHUTDOWN",
        "embed_cleanup_every_n": "EMBED_CLEANUP_EVERY_N",
    },
    "auth": {
        "require_api_key": "REQUIRE_API_KEY",
        "rate_limit_embed": "RATE_LIMIT_EMBED",
        "rate_limit_health": "RATE_LIMIT_HEALTH",
    },
}
_OF_THE_EMBEDDER = {name for section in SECTIONS.values() for name in section.values()}

# What Kubernetes, and Docker's links, tell each container about other services.
_OF_SERVICES = re.compile(r"(^|_)SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)")
_ADDRESS = re.compile(r"(tcp|udp)://")
_PREFIX = "TWINLENS_"
# Of 170 names of other programs (tests/unit/test_names.py) the most alike has 0.865, that is
# IMAGE_EMBEDDER_URL; names with two letters exchanged have from 0.83 up.
_ALIKE = 0.87
_SAME_LETTERS_ALIKE = 0.8


def near(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` was most likely meant to be; None if it is like none."""
    wanted = name.upper().removeprefix(_PREFIX)
    if wanted in known:
        return wanted
    found = max(known, key=lambda each: _likeness(wanted, each))
    exchanged = sorted(wanted) == sorted(found)
    alike = _SAME_LETTERS_ALIKE if exchanged else _ALIKE
    return found if _likeness(wanted, found) >= alike else None


def hint(name: str, known: Collection[str]) -> str:
    """What to put behind the message that names a setting that does not exist."""
    found = near(name, known)
    return f" (did you mean {found}?)" if found else ""


def warnings(environ: Mapping[str, str], known: Collection[str]) -> list[str]:
    """A line for each variable that looks like a setting and is none.

    Args:
        environ: the variables that are set.
        known: names of the settings.
    """
    lines = []
    for name in sorted(set(environ) - set(known)):
        if name in _OF_THE_EMBEDDER:
            lines.append(f"{name} is set, but Twinlens has no such setting; it is ignored")
        elif _OF_SERVICES.search(name) or _ADDRESS.match(environ[name]):
            continue
        elif meant := near(name, known):
            lines.append(f"{name} is set, but is no setting; did you mean {meant}?")
    return lines


def _likeness(one: str, other: str) -> float:
    """0 to 1."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
