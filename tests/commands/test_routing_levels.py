"""The study of levels of routing: what it trains, and what it compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rsmoe.config import compose
from rsmoe.studies.routing_levels import ROWS, main


def test_what_is_there_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "tokens" / "3"
    there.mkdir(parents=True)
    (there / "metrics.json").write_text("{}")
    asked: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: asked.append(words))
    words = ["--start", "runs/dense", "--out", str(tmp_path), "--seeds", "3", "--rows", "tokens", "--", "trainer=cpus"]
    monkeypatch.setattr(sys, "argv", ["routing_levels", *words])
    main()
    twin = tmp_path / "one_adapter-4_r" / "3"
    trained, compared = asked
    assert {"start=runs/dense", "seed=3", "moe=none", "bank.rank=32", "trainer=cpus", "name=one_adapter-4_r"} < set(
        trained
    )
    assert compared[2:6] == ["rsmoe.commands.compare", str(twin), str(there), f"against={twin}"]


@pytest.mark.parametrize("row", ROWS)
def test_rows_compose_and_have_about_as_many_ranks(row: str) -> None:
    config: Any = compose(["experiment=real_moe", "data.root=/data", *ROWS[row]])
    adapters = (config.moe.adapters or len(config.expert)) + bool(config.bank.shared)
    assert config.bank.alpha == 2 * config.bank.rank  # one scale for all
    assert adapters * config.bank.rank == (8 if row == "one adapter, r" else pytest.approx(32, abs=2))
