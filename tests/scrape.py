# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Parses the answers of ``GET /metrics`` as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass
class Scrape:
    """Holds one parsed answer."""

    text: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, "each series once"
                self.samples[key] = sample.value

    def total(self, name: str, **labels: object) -> float:
        """Return the sum of all series that have at least these labels; 0 if there are none."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return sum(
            value
            for (each, found), value in self.samples.items()
            if each == name and wanted <= found
        )

    def values(self, name: str, label: str) -> set[str]:
        """Return the values of a label in all series with this name."""
        return {dict(labels)[label] for each, labels in self.samples if each == name}

    def growing(self) -> dict[tuple[str, Labels], float]:
        """Return the series whose values must never decrease."""
        endings = ("_total", "_count", "_sum", "_bucket")
        return {key: value for key, value in self.samples.items() if key[0].endswith(endings)}
