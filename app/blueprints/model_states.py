# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What several routes say of models in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.blueprints.exchange import runtime
from app.lending.entry import ModelStatus


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the facts that are known: the others are left out, not null."""
    return {name: value for name, value in facts.items() if value is not None}


def download_figures(status: ModelStatus) -> dict[str, Any]:
    """How far the download of a model is, or why the model is unavailable."""
    return known(
        {
            "reason": status.reason,
            "downloaded_bytes": status.downloaded_bytes,
            "total_bytes": status.total_bytes,
            "progress": status.progress,
        }
    )


def engine(statuses: Iterable[ModelStatus]) -> dict[str, str]:
    """What runs the models: of the first that is loaded, else what is expected to."""
    service = runtime()
    for status in statuses:
        network = status.network
        if network.engine and network.precision:
            return {"engine": network.engine, "precision": network.precision}
    return {"engine": service.loader.expected_engine(), "precision": service.settings.precision}
