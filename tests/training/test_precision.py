"""Training in every precision, on the processor: it clips, saves, goes on bit for bit, and its losses are fp32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import codecs, requests, tiny_model
from support.precision import trained, trainer
from support.runs import DENSE, EXPERTS, Killed, at_step, data_of, equal, kill

from rsmoe.build import load_run
from rsmoe.config import conf_dir
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.training.module import StageModule
from rsmoe.training.run import load_checkpoint

assert at_step  # a fixture
NAMED = sorted(p.stem for p in (conf_dir() / "trainer").glob("*.yaml"))
HALF = ("bf16-mixed", "16-mixed", "bf16-true")
MAPS = (
    "maps=[land_cover,change]", "noun_grounding=true", "maps.land_cover.classes=[ground,ship]",
    "maps.land_cover.channels=8", "maps.change.channels=8", "bypass=grid",
)  # fmt: skip


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.dtype]:
    """Types of every loss, of the gate, and of the language model's states."""
    found: dict[str, torch.dtype] = {}
    real = StageModule._losses

    def read(module: StageModule, *args: Any) -> dict[str, torch.Tensor]:
        terms = real(module, *args)
        found.update({name: value.dtype for name, value in terms.items()})
        return terms

    monkeypatch.setattr(StageModule, "_losses", read)
    return found


@pytest.mark.parametrize("name", NAMED)
def test_the_precision_of_every_trainer_yaml_trains(name: str, tmp_path: Path) -> None:
    config = trainer(f"trainer={name}")
    assert {"precision", "accumulate_grad_batches", "gradient_clip_val"} <= set(config)
    before = tiny_model(scrambled=False)
    model = trained(tmp_path, replace(DENSE, steps=2, losses={"text": 1.0}), of=config)
    assert not equal(model, before) and load_checkpoint(tmp_path)["global_step"] == 2


@pytest.mark.parametrize("precision", HALF)
def test_a_killed_run_goes_on_bit_for_bit(
    precision: str, tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch, noted: dict[str, torch.dtype]
) -> None:
    stages, config = (replace(DENSE, steps=2), replace(EXPERTS, steps=4)), trainer(f"trainer.precision={precision}")
    whole = trained(tmp_path / "whole", *stages, of=config, overrides=MAPS)
    assert set(noted.values()) == {torch.float32}, noted
    assert {"text", "label", "mask_bce", "retrieval", "change", "land_cover"} <= set(noted)
    at_step(1, 3, kill)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", *stages, of=config, overrides=MAPS)
    monkeypatch.undo()
    again = trained(tmp_path / "again", *stages, of=config, overrides=MAPS, resume=tmp_path / "killed")
    assert equal(again, whole)
    # the table that training prints is asked of what the checkpoint holds, in the same types
    rebuilt, codec, _ = load_run(load_checkpoint(tmp_path / "again"))
    assert equal(rebuilt, again) and {p.dtype for p in again.parameters()} == {torch.float32}
    batch = data_of(requests()).eval_collate([(s, 0) for s in requests()])
    told = [answer_batch(m.eval(), codec, batch, beams=1, max_new=4) for m in (again, rebuilt)]
    assert [p.text for p in told[0]] == [p.text for p in told[1]]


@pytest.mark.parametrize("precision", ["32-true", *HALF])
def test_a_half_precision_base_with_heads(precision: str, tmp_path: Path) -> None:
    """What rsmoe_1b to 7b are: the language model in bf16, all that trains beside it in fp32."""
    model = trained(
        tmp_path, replace(EXPERTS, steps=2), of=trainer(f"trainer.precision={precision}"),
        overrides=("+lm.dtype=bfloat16",),
    )  # fmt: skip
    kinds = {n: p.dtype for n, p in model.named_parameters()}
    assert kinds["to_lm.weight"] == torch.float32 and kinds["bank.lm.lm_head.weight"] == torch.bfloat16
    batch = data_of(requests()).eval_collate([(s, 0) for s in requests()])
    assert len(answer_batch(model.eval(), codecs()[0], batch, beams=2, max_new=3)) == len(requests())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_gradients_are_clipped(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []

    def before_step(module: StageModule, optimizer: torch.optim.Optimizer) -> None:
        grads = [p.grad.float() for p in module.parameters() if p.grad is not None]
        if grads:  # of the step before
            norms.append(float(torch.stack([g.norm() for g in grads]).norm()))

    monkeypatch.setattr(StageModule, "on_before_zero_grad", before_step, raising=False)
    config = trainer(f"trainer.precision={precision}", "trainer.gradient_clip_val=0.01")
    trained(tmp_path, replace(DENSE, steps=3), of=config)
    assert norms and max(norms) < 0.0102  # the norm after clipping


def test_fp32_keeps_the_fused_optimiser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], StageModule.configure_optimizers

    def made(module: StageModule) -> Any:
        found = real(module)
        seen.append(bool(found["optimizer"].defaults["fused"]))
        return found

    monkeypatch.setattr(StageModule, "configure_optimizers", made)
    for precision in ("32-true", "bf16-true", "bf16-mixed"):
        trained(tmp_path / precision, replace(DENSE, steps=1), of=trainer(f"trainer.precision={precision}"))
    assert seen == [True, True, False]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=fp16", "unknown trainer.precision 'fp16'.*bf16-mixed"),
        ("trainer.precision=16-true", "unknown trainer.precision '16-true'"),
        ("trainer.precision=64-true", "unknown trainer.precision '64-true'"),
        ("+trainer.max_steps=3", "trainer.max_steps=3 cannot be given.*stage.<name>.steps"),
        ("+trainer.limit_train_batches=2", "trainer.limit_train_batches=2 cannot be given"),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run=True cannot be given"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: expected"),
        ("trainer.accumulate_grad_batches=true", "trainer.accumulate_grad_batches=True: expected"),
        ("trainer.accumulate_grad_batches=1.5", "trainer.accumulate_grad_batches=1.5: expected"),
    ],
)
def test_what_no_trainer_can_do_is_one_line(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        trained(tmp_path, replace(DENSE, steps=1), of=trainer(override))
