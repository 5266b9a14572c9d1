# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Starts Twinlens and the references that it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reference.service import Network, Reference
from benchmarks.service import Service
from config.settings import Settings

#: the task of each model in the table, "depth" or "embedding", by the model's key
FAMILIES = {spec.key: spec.task for spec in Settings().table().model}
PATHS = {"depth": "/api/depth", "embedding": "/embed-image"}
_DEFAULTS = {"depth": "DEPTH_MODEL", "embedding": "DEFAULT_MODEL"}
# The reference's networks by name. OpenVINO is among them, because the replaced embedding service
# could use it.
_REFERENCES: dict[str, dict[str, Network]] = {
    "depth": {"reference": "depth"},
    "embedding": {"reference": "embedding", "reference OpenVINO": "openvino"},
}
# Those of models that the replaced services did not have. No installed library but Twinlens runs
# Depth Anything 3.
_OTHER_REFERENCES: dict[str, dict[str, Network]] = {
    "siglip2-b16-256": {"reference": "open_clip"},
    "da3-small": {},
}
#: for models without a reference, a model that a second Twinlens serves for comparison
BESIDE = {"da3-small": "small"}


@dataclass(frozen=True)
class Contender:
    """A running service, and the path for requests to one of its models."""

    name: str
    service: Service
    path: str
    #: whether it drops the requests of clients that have hung up
    notices_hang_up: bool = False


def twinlens(
    cache: Path, logs: Path, models: list[str], config: Path | None = None, /, **environ: object
) -> Service:
    """Configure Twinlens with these default models, at most one per family, and no other family.

    ``config`` replaces the project's gunicorn.conf.py.
    """
    families = {FAMILIES[model]: model for model in models}
    own: dict[str, object] = {
        "HF_HUB_CACHE": cache,
        "HF_HUB_OFFLINE": 1,
        "ENABLED_FAMILIES": ",".join(families),
        "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": 600,
        **{_DEFAULTS[family]: model for family, model in families.items()},
    }
    return Service(logs / f"twinlens-{'-'.join(models)}.log", config, **own | environ)


def references(model: str) -> dict[str, Network]:
    """Return the networks of the reference for this model, by name."""
    return _OTHER_REFERENCES.get(model, _REFERENCES[FAMILIES[model]])


def reference(cache: Path, logs: Path, model: str, name: str) -> Reference:
    """Configure the reference with one of the networks in ``references(model)``."""
    network = references(model)[name]
    return Reference(logs / f"reference-{model}-{network}.log", cache, model, network)


@contextmanager
def contenders(
    cache: Path, logs: Path, model: str, workers: int, alone: bool
) -> Iterator[list[Contender]]:
    """Start all contenders and wait until they are ready.

    Yields Twinlens first and then, unless it runs ``alone``, the references, or Twinlens with the
    model ``BESIDE`` this one.
    """
    family = FAMILIES[model]
    services: dict[str, Service] = {
        "Twinlens": twinlens(cache, logs, [model], WEB_CONCURRENCY=workers)
    }
    if not alone:
        services |= {name: reference(cache, logs, model, name) for name in references(model)}
        if model in BESIDE:
            services[f"Twinlens {BESIDE[model]}"] = twinlens(cache, logs, [BESIDE[model]])
    with ExitStack() as stack:
        for service in services.values():
            stack.enter_context(service.started())
        for service in services.values():
            service.wait_until_ready()
        yield [
            Contender(name, service, PATHS[family], notices_hang_up=name == "Twinlens")
            for name, service in services.items()
        ]
