# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a row of the family ``sharp`` in the table of models and on the command line.

tests/process/test_sharp.py tests it in a service.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.main import main
from config.models import TableError, parse, read_table

ROW = '[[model]]\nkey = "{}"\nfamily = "sharp"\n'


def test_the_rules_of_the_row() -> None:
    table = parse(ROW.format("mine") + 'path = "/models/sharp.pt"\n')
    assert table.sharp is not None
    assert table.sharp.key == "mine"
    assert table.keys("depth") == [], "it makes no depth maps"
    assert read_table().sharp is None, "the operator adds it, who has accepted the licence"
    with pytest.raises(TableError, match=r"'mine': family = \"sharp\" has no hub_id"):
        parse(ROW.format("mine") + 'hub_id = "apple/Sharp"\n')
    with pytest.raises(TableError, match="only one row"):
        parse(ROW.format("one") + ROW.format("two"))


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "models.toml"
    table.write_text(ROW.format("mine"))
    monkeypatch.setenv("MODELS_FILE", str(table))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("row")
def test_commands_about_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models", "list"]) == 0
    assert "mine is not usable: the command sharp is not on this" in capsys.readouterr().out
    program = tmp_path / "sharp"
    program.touch(0o755)
    assert main(["models", "list"]) == 0
    assert "mine is" not in capsys.readouterr().out
    assert main(["models", "check", "mine"]) == 2
    assert "nothing to compare" in capsys.readouterr().err
    assert main(["download", "mine"]) == 0
    assert "https://github.com/apple/ml-sharp" in capsys.readouterr().err
