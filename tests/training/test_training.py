"""Stages, checkpoints, and runs that stop anywhere and go on bit for bit."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models import codecs, requests, tiny_model
from support.runs import DENSE, EXPERTS, Killed, at_step, data_of, equal, kill, run, signals
from torch import Tensor

from rsmoe.build import load_run
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.checkpoint_io import WholeFileIO
from rsmoe.training.freeze import set_trainable
from rsmoe.training.module import StageModule
from rsmoe.training.run import ADAMW, find_checkpoint, load_checkpoint

assert at_step and signals  # fixtures


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RSMoE, list[dict[str, Any]], Path]:
    """Both stages without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return *run(folder, DENSE, EXPERTS), folder


def test_stages_leave_checkpoints_and_a_trace(whole: tuple[RSMoE, list[dict[str, Any]], Path]) -> None:
    model, trace, folder = whole
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["1-dense.ckpt", "2-experts.ckpt", "last.ckpt"]
    assert [(t["stage"], t["step"]) for t in trace] == [(1, s) for s in range(5)]
    assert all(len(t["load"]) == 6 and math.isclose(sum(t["load"]), 1.0, rel_tol=1e-5) for t in trace)
    assert find_checkpoint(folder).name == "2-experts.ckpt"
    # what a checkpoint holds is data: this call runs no code that a file carries
    saved = torch.load(folder / "checkpoints" / "2-experts.ckpt", weights_only=True)
    rebuilt, codec, _ = load_run(saved)
    assert equal(rebuilt, model)
    assert codec.state() == codecs()[0].state()
    assert not rebuilt.dense and not rebuilt.training


def test_a_dense_stage_is_rebuilt_dense(whole: tuple[RSMoE, list[dict[str, Any]], Path]) -> None:
    rebuilt, _, _ = load_run(load_checkpoint(whole[2] / "checkpoints" / "1-dense.ckpt"))
    assert rebuilt.dense


def test_stage_two_trains_what_it_names_and_nothing_else(whole: tuple[RSMoE, list[dict[str, Any]], Path]) -> None:
    before = load_checkpoint(whole[2] / "checkpoints" / "1-dense.ckpt")["state_dict"]
    moved = {k for k, v in whole[0].state_dict().items() if not torch.equal(v, before[f"model.{k}"])}
    # frozen parts keep their batch statistics too
    assert {k.split(".")[0] for k in moved} == {"router", "prompts", "bank", "experts"}
    assert all("lora_" in k for k in moved if k.startswith("bank"))
    adapters = next(v for k, v in whole[0].state_dict().items() if k.endswith("lora_B"))
    assert len({tuple(a.flatten().tolist()) for a in adapters}) == len(adapters)  # every expert went its own way


@pytest.mark.parametrize(("stage", "step"), [(0, 3), (1, 3), (1, 4), (1, 0)])
def test_a_killed_run_continues_bit_for_bit(
    stage: int, step: int, whole: tuple[RSMoE, list[dict[str, Any]], Path], tmp_path: Path,
    at_step: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_step(stage, step, kill)
    with pytest.raises(Killed):
        run(tmp_path / "killed", DENSE, EXPERTS)
    monkeypatch.undo()
    kept = load_checkpoint(tmp_path / "killed")
    assert (kept["hyper_parameters"]["stage"], kept["global_step"]) == ((stage, step // 2 * 2) if step else (0, 5))
    model, trace = run(tmp_path / "resumed", DENSE, EXPERTS, resume=tmp_path / "killed")
    assert equal(model, whole[0])
    assert trace == whole[1]


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_step_and_keeps_a_checkpoint(
    number: signal.Signals, whole: tuple[RSMoE, list[dict[str, Any]], Path], tmp_path: Path,
    at_step: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_step(1, 2, send(number))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "stopped", DENSE, EXPERTS, every=100)
    monkeypatch.undo()
    kept = load_checkpoint(tmp_path / "stopped")
    assert (kept["hyper_parameters"]["stage"], kept["global_step"]) == (1, 3)
    model, trace = run(tmp_path / "resumed", DENSE, EXPERTS, resume=tmp_path / "stopped")
    assert equal(model, whole[0])
    assert trace == whole[1]


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("stage", [0, 1])
def test_ctrl_c_while_the_last_step_of_a_stage_is_saved(
    stage: int, whole: tuple[RSMoE, list[dict[str, Any]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = WholeFileIO.save_checkpoint

    def save(self: WholeFileIO, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        real(self, checkpoint, path)
        if (checkpoint["hyper_parameters"]["stage"], checkpoint["global_step"]) == (stage, 5):
            send(signal.SIGINT)()

    monkeypatch.setattr(WholeFileIO, "save_checkpoint", save)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "stopped", DENSE, EXPERTS, every=1)
    monkeypatch.undo()
    kept = load_checkpoint(tmp_path / "stopped")
    assert (kept["hyper_parameters"]["stage"], kept["global_step"]) == (stage, 5)
    model, trace = run(tmp_path / "resumed", DENSE, EXPERTS, resume=tmp_path / "stopped")
    assert equal(model, whole[0])
    assert trace == whole[1]


def test_a_second_ctrl_c_does_not_wait() -> None:
    from rsmoe.training.interruption import Interruption

    listener = Interruption(Path("unused"))
    listener._ask(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        listener._ask(signal.SIGINT, None)


def test_a_stage_that_is_complete_is_not_run_again(
    whole: tuple[RSMoE, list[dict[str, Any]], Path], tmp_path: Path, at_step: Callable[..., None]
) -> None:
    at_step(0, 0, kill)
    model, _ = run(tmp_path, DENSE, EXPERTS, resume=whole[2] / "checkpoints" / "1-dense.ckpt")
    assert equal(model, whole[0])


def test_a_stage_of_no_steps_is_left_out_and_a_run_of_none_is_refused(tmp_path: Path) -> None:
    model, _ = run(tmp_path / "one", replace(DENSE, steps=0), replace(DENSE, name="later"))
    names = sorted(p.name for p in (tmp_path / "one" / "checkpoints").glob("*.ckpt"))
    assert names == ["2-later.ckpt", "last.ckpt"] and model.dense
    with pytest.raises(UserError, match="0 steps in every stage"):
        run(tmp_path / "none", replace(DENSE, steps=0))


def test_the_seed_decides(whole: tuple[RSMoE, list[dict[str, Any]], Path], tmp_path: Path) -> None:
    """The resume tests compare something: another order of samples gives other weights."""
    other, _ = run(tmp_path, DENSE, EXPERTS, samples=requests()[::-1])
    assert not equal(other, whole[0])


def test_a_loss_that_is_not_finite_names_step_and_samples(tmp_path: Path) -> None:
    def broken(self: RSMoE, *args: Any, **kwargs: Any) -> Any:
        out = real(self, *args, **kwargs)
        return replace(out, log_probability=out.log_probability * float("nan"))

    real = RSMoE.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RSMoE, "read", broken)
        with pytest.raises(UserError) as error:
            run(tmp_path, DENSE)
    for word in ("nan at step 0 of stage 'dense'", "text=nan", "stage.dense.lr", "0.001"):
        assert word in str(error.value)
    assert any(sample.id in str(error.value) for sample in requests())
    assert not list(tmp_path.rglob("*.ckpt"))  # a broken state is not kept


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (replace(DENSE, losses={"txt": 1.0}), r"unknown loss 'txt'. Did you mean 'text'\?.*retrieval"),
        (replace(DENSE, train=["visoin.*"]), r"'visoin\.\*' matches no parameter\. Closest: .*vision"),
        (replace(DENSE, train=["-*"]), r"stage 'dense' trains nothing"),
        (replace(DENSE, mix={"hnad": 1.0}), r"unknown training data set 'hnad'. Did you mean 'hand'\?"),
    ],
)
def test_mistakes_in_a_stage_are_explained(stage: Stage, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, stage)


def test_a_stage_of_perception_alone_runs_no_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RSMoE, "read", lambda *args, **kwargs: kill())
    seen = Stage(name="see", steps=12, train=["vision.*", "maps"], losses={}, batch_size=6, lr=1e-2, warmup=1)
    run(tmp_path, seen, overrides=MAPS)
    (curves,) = tmp_path.rglob("metrics.csv")
    head, *rows = curves.read_text().splitlines()
    assert {"train/land_cover", "train/change", "train/loss"} <= set(head.split(","))
    assert rows


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "x", "steps": 1, "lossses": {}}, r"unknown key under 'stage.x' 'lossses'. Did you mean 'losses'\?"),
        ({"name": "x", "steps": -1}, "steps=-1"),
        ({"name": "x", "steps": 1, "teacher_forcing": [0.8]}, r"stage.x.teacher_forcing=\[0.8\]: expected two shares"),
        ({"name": "x", "steps": 1, "teacher_forcing": 0.5}, "teacher_forcing=0.5: expected two shares"),
        ({"name": "x", "steps": 1, "teacher_forcing": [2, 0]}, r"teacher_forcing=\[2, 0\]"),
    ],
)
def test_keys_of_a_stage_are_checked(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Stage.from_config(given)


def test_learning_rates_follow_their_patterns_and_the_schedule() -> None:
    model = tiny_model()
    set_trainable(model, ["*"])
    stage = replace(DENSE, steps=10, warmup=4, lr=1e-3, lr_end=0.1, lr_groups={"vision.*": 1e-4}, weight_decay=0.05)
    made = StageModule(model=model, stage=stage, index=0, seed=0, hparams={}, optimizer=ADAMW).configure_optimizers()
    names = {id(p): n for n, p in model.named_parameters()}
    for group in made["optimizer"].param_groups:
        for p in group["params"]:
            assert group["initial_lr"] == (1e-4 if names[id(p)].startswith("vision.") else 1e-3)
            assert group["weight_decay"] == (0.05 if p.ndim > 1 else 0.0)
    assert sum(len(g["params"]) for g in made["optimizer"].param_groups) == len(names)
    factor = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
    np.testing.assert_allclose([factor(s) for s in range(4)], [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose([factor(4), factor(7), factor(10)], [1.0, 0.55, 0.1])


@pytest.mark.parametrize("rest", [False, True])
def test_statistics_at_rest_stay_while_the_encoder_learns(rest: bool, tmp_path: Path) -> None:
    model, _ = run(tmp_path, replace(DENSE, freeze_batch_norm=rest), overrides=())
    before, after = tiny_model(scrambled=False).vision.state_dict(), model.vision.state_dict()
    moved = {name.rsplit(".", 1)[1] for name, value in after.items() if not torch.equal(value, before[name])}
    assert "weight" in moved and ("running_mean" in moved) is not rest and ("running_var" in moved) is not rest


MAPS = (
    "maps=[land_cover,change]", "maps.land_cover.classes=[ground,ship]", "maps.land_cover.channels=8",
    "maps.change.channels=8", "noun_grounding=true",
)  # fmt: skip


def test_true_maps_are_shown_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    real = StageModule._truth

    def noted(module: StageModule, batch: Batch, step: int) -> Tensor | None:
        known = replace(batch, class_map=torch.zeros(4000, 1, 1, dtype=torch.uint8), frames=torch.ones(4000))
        truth = real(module, known, step)
        drawn.append(0.0 if truth is None else float((truth == 0).float().mean()))
        return real(module, batch, step)

    monkeypatch.setattr(StageModule, "_truth", noted)
    run(tmp_path, replace(DENSE, teacher_forcing=(0.8, 0.0), losses={"text": 1.0}), overrides=MAPS)
    np.testing.assert_allclose(drawn, [0.8, 0.64, 0.48, 0.32, 0.16], atol=0.03)


def test_the_text_loss_falls(tmp_path: Path) -> None:
    stage = Stage(
        name="learn", steps=30, single_expert=True, train=["*", "-router.*"], batch_size=10, lr=2e-2, warmup=5
    )
    model, _ = run(tmp_path, stage, overrides=())
    batch = data_of(requests()).train_collate([(s, 0) for s in requests()])
    fresh = tiny_model(scrambled=False)
    fresh.dense = True
    with torch.no_grad():
        before, after = (float(m.fusion.losses(m, batch, m.eval().read(batch))["text"]) for m in (fresh, model))
    assert after < 0.5 * before


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, at_step: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = torch.save, []

    def full(what: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(path)
        if len(calls) < 2:
            return real(what, path, *args, **kwargs)
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="cannot write the checkpoint.*No space left on device.*resume="):
        run(tmp_path, DENSE)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert load_checkpoint(tmp_path)["global_step"] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing", "no checkpoint at .*give a run folder"),
        (lambda folder: folder, "no checkpoint in .*checkpoints; expected a run folder"),
        (lambda folder: _written(folder / "x.ckpt", b""), "is not a readable checkpoint"),
        (lambda folder: _written(folder / "x.ckpt", b"not a zip at all"), "is not a readable checkpoint"),
        (lambda folder: _cut(folder), "is not a readable checkpoint"),
        (lambda folder: _pickled(folder), "is not a readable checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_checkpoint(make(tmp_path))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _cut(folder: Path) -> Path:
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, folder / "x.ckpt")
    return _written(folder / "x.ckpt", (folder / "x.ckpt").read_bytes()[:2000])


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("proof-that-code-ran",)


def _pickled(folder: Path) -> Path:
    torch.save({"state_dict": _Evil()}, folder / "x.ckpt")
    return folder / "x.ckpt"


def test_a_checkpoint_of_other_software_is_refused() -> None:
    with pytest.raises(UserError, match="was not written by rsmoe.train: no config, codec, instruction_codec"):
        load_run({"state_dict": {}, "epoch": 1})


@pytest.mark.parametrize("key", ["loops", "optimizer_states", "lr_schedulers"])
def test_a_state_of_training_that_cannot_be_restored_is_one_line(key: str, tmp_path: Path) -> None:
    run(tmp_path / "0", DENSE, every=2)
    path = tmp_path / "0" / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    saved[key] = {"fit_loop": {"x": 1}} if key == "loops" else [{"x": 1}]
    torch.save(saved, path)
    with pytest.raises(UserError, match="its state of training cannot be restored"):
        run(tmp_path / "1", replace(DENSE, steps=9), resume=path)
