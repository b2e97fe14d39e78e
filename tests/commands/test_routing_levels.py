"""The study of levels of routing: what it trains, and what its intervals say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rsmoe.config import compose
from rsmoe.studies.routing_levels import ROWS, TWIN, compared, main


def run_of(folder: Path, right: list[bool]) -> Path:
    """A run that answered n questions."""
    folder.mkdir(parents=True)
    rows = [
        {
            "id": str(i), "data": "questions", "task": "vqa", "kind": "count", "instruction": "?",
            "references": ["yes"], "text": "yes" if own else "no",
        }
        for i, own in enumerate(right)
    ]  # fmt: skip
    (folder / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "metrics.json").write_text(json.dumps({"run": {"cpu_minutes": 2.0}}))
    return folder


def test_a_difference_is_paired_over_samples_and_meant_over_seeds(tmp_path: Path) -> None:
    even, none, most = [i % 2 == 0 for i in range(60)], [False] * 60, [i % 10 < 9 for i in range(60)]
    runs = {
        TWIN: [run_of(tmp_path / "twin" / "0", even), run_of(tmp_path / "twin" / "1", none)],
        "tokens": [run_of(tmp_path / "tokens" / "0", even), run_of(tmp_path / "tokens" / "1", most)],
        "hash": [run_of(tmp_path / "hash" / "0", none), run_of(tmp_path / "hash" / "1", even)],
    }
    table = compared(runs)
    (key,) = table[TWIN]
    assert key == ("questions", "overall")
    value, gap = table["tokens"][key]
    assert value == pytest.approx(70) and gap.value == pytest.approx(45) and 30 < gap.low < 45 < gap.high < 60
    value, gap = table["hash"][key]  # the same answers, of other seeds: no sample differs in the mean
    assert value == pytest.approx(25) and (gap.value, gap.low, gap.high) == (0, 0, 0)


def test_what_is_there_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "tokens" / "3", [True] * 9)
    asked: list[list[str]] = []

    def trained(words: list[str], check: bool) -> None:
        asked.append(words)
        run_of(tmp_path / "one_adapter-4_r" / "3", [True, *[False] * 8])

    monkeypatch.setattr(subprocess, "run", trained)
    words = ["--start", "runs/dense", "--out", str(tmp_path), "--seeds", "3", "--rows", "tokens", "--", "trainer=cpus"]
    monkeypatch.setattr(sys, "argv", ["routing_levels", *words])
    main()
    (only,) = asked
    assert {"start=runs/dense", "seed=3", "moe=none", "bank.rank=32", "trainer=cpus"} < set(only)
    assert "| tokens | 100.0, **+88.9 (" in capsys.readouterr().out


@pytest.mark.parametrize("row", ROWS)
def test_rows_compose_and_have_about_as_many_ranks(row: str) -> None:
    config: Any = compose(["experiment=real_moe", "data.root=/data", *ROWS[row]])
    adapters = (config.moe.adapters or len(config.expert)) + bool(config.bank.shared)
    assert config.bank.alpha == 2 * config.bank.rank  # one scale for all
    assert adapters * config.bank.rank == (8 if row == "one adapter, r" else pytest.approx(32, abs=2))
