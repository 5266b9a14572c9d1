# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds misspelt names of settings and models, and knows those of the replaced image embedder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import SequenceMatcher, get_close_matches

#: The service that Twinlens replaces had a ``config.toml``, which still works here. For each of its
#: sections: the keys, and the setting (environment variable) that each key stands for.
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

# Variables that Kubernetes and Docker's links set in each container to describe other services.
_OF_SERVICES = re.compile(r"(^|_)SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)")
_ADDRESS = re.compile(r"(tcp|udp)://")
_PREFIX = "TWINLENS_"
# A name that is at least this similar to a setting counts as misspelt. Of 170 variables of other
# programs (tests/unit/test_names.py), IMAGE_EMBEDDER_URL is the most similar one, with 0.865.
_ALIKE = 0.87
# The same limit for a name that has exactly the letters of a setting in another order. If two
# letters are exchanged, the similarity is at least 0.83.
_SAME_LETTERS_ALIKE = 0.8
_LONGEST_KEY = 64


def near(name: str, known: Collection[str]) -> str | None:
    """The known name of which ``name`` is most likely a misspelling; None if none is similar."""
    wanted = name.upper().removeprefix(_PREFIX)
    if wanted in known:
        return wanted
    found = max(known, key=lambda each: _likeness(wanted, each))
    exchanged = sorted(wanted) == sorted(found)
    alike = _SAME_LETTERS_ALIKE if exchanged else _ALIKE
    return found if _likeness(wanted, found) >= alike else None


def hint(name: str, known: Collection[str]) -> str:
    """A suffix " (did you mean ...?)" for the message about an unknown setting; "" if none."""
    found = near(name, known)
    return f" (did you mean {found}?)" if found else ""


def key_hint(key: str, known: Collection[str]) -> str:
    """A suffix " (did you mean ...?)" for the message about an unknown model; "" if none is near.

    People write keys from memory and without regard to case, so that less similarity is enough than
    for settings.
    """
    by_lower_case = {each.lower(): each for each in known}
    found = get_close_matches(key[:_LONGEST_KEY].lower(), by_lower_case, n=1)
    return f" (did you mean {by_lower_case[found[0]]}?)" if found else ""


def warnings(environ: Mapping[str, str], known: Collection[str]) -> list[str]:
    """A line for each variable that looks like a setting but is not one.

    Args:
        environ: the environment variables and their values.
        known: the names of all settings.
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
    """How similar two names are, from 0 to 1 (equal)."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
