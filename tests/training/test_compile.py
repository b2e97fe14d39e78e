"""``compile=true`` trains, answers, and leaves the names of the weights as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.composed import plain, run, short
from support.models import TINY, tiny_config

from rsmoe.build import load_run
from rsmoe.config import compose
from rsmoe.training.checkpoints import load_checkpoint


@pytest.mark.slow
def test_a_compiled_model_trains_and_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are captured and differentiated; that Inductor turns them into C++, which takes minutes, is left out."""
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    compiled, real = [], torch.nn.Module.compile

    def compile(self: torch.nn.Module, **options: Any) -> None:
        compiled.append(type(self).__name__)
        real(self, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    config = plain(
        compose(
            ["compile=true", "stage=[dense]", "expert=[theme,vqa]", *(t for t in TINY if not t.startswith("vision"))]
        )
    )
    config["vision"] = tiny_config()["vision"]
    run(short(config, scenes=3), tmp_path, monkeypatch)
    assert compiled == ["ResNet", "InstructQFormer"]
    assert not any("_orig_mod" in name for name in load_run(load_checkpoint(tmp_path / "run"))[0].state_dict())
