# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that docs/models.md agrees with every row of the built-in table of models."""

from __future__ import annotations

import pytest

from benchmarks.service import PROJECT
from config.models import ModelSpec, read_table

PAGE = (PROJECT / "docs" / "models.md").read_text()
ROWS = read_table().model


@pytest.mark.parametrize("spec", ROWS, ids=[spec.key for spec in ROWS])
def test_each_model_is_on_the_page_with_its_licence(spec: ModelSpec) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{spec.key}` |")] or [""]
    if spec.is_built_in:
        assert f"`{spec.key}`" in PAGE
        return
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == spec.parameters
    assert cells[2] == (spec.download or "")
    assert cells[3].startswith(spec.license)
    assert cells[5] == f"`{spec.hub_id}`"
    is_limited = "NC" in spec.license or spec.license == "apple-amlr"
    assert ("**" in cells[3]) is is_limited, "a limit of use is in bold"
