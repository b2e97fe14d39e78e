"""Which checkpoint of a run is taken, and which device asks it."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import batch_of
from torch import Tensor

import rsmoe.evaluation.open_run
from rsmoe.device import pick_device
from rsmoe.errors import UserError
from rsmoe.evaluation.benchmark_run import open_ranks
from rsmoe.model import RSMoE
from rsmoe.perception import Perception
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint


def run(folder: Path, **files: tuple[int, int] | bytes) -> Path:
    """A run folder: name of a checkpoint (``_`` for ``-``) -> its stage and step, or whatever lies there instead."""
    (folder / "checkpoints").mkdir(parents=True)
    for name, content in files.items():
        path = folder / "checkpoints" / f"{name.removeprefix('at').replace('_', '-')}.ckpt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            stage, step = content
            torch.save({"hyper_parameters": {"stage": stage}, "global_step": step, "state_dict": {}}, path)
    return folder


@pytest.mark.parametrize(
    ("files", "best"),
    [
        ({"at1_dense": (0, 5), "at2_experts": (1, 5), "last": (1, 4)}, "2-experts"),
        ({"at1_dense": (0, 5), "at2_experts": (1, 5), "last": (1, 5)}, "2-experts"),
        ({"at1_dense": (0, 5), "last": (1, 2)}, "last"),
        ({"at1_dense": (0, 500), "last": (0, 400)}, "1-dense"),
        ({"at1_dense": (0, 5), "last": (0, 8)}, "last"),  # continued for longer in the same folder
        ({"last": (0, 2)}, "last"),
        ({"at9_b": (8, 1), "at10_a": (9, 1)}, "10-a"),  # numbers, not letters
        ({"best": (1, 1), "copy_of_it": (2, 1)}, "copy-of-it"),
        ({"at1_dense": b"damaged", "at2_experts": (1, 5), "last": (1, 5)}, "2-experts"),  # by its name it is older
    ],
)
def test_the_newest_checkpoint_is_the_furthest_whatever_the_times_of_files(
    files: dict[str, Any], best: str, tmp_path: Path
) -> None:
    for number, order in enumerate(itertools.permutations(files)):
        folder = run(tmp_path / str(number), **files)
        for time, name in enumerate(order):
            path = folder / "checkpoints" / f"{name.removeprefix('at').replace('_', '-')}.ckpt"
            os.utime(path, (1e9 + time, 1e9 + time))
        assert find_checkpoint(folder).name == f"{best}.ckpt"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"last": b"damaged", "at1_dense": (0, 5)}, r"last\.ckpt is not a readable.*give the furthest.*1-dense\.ckpt"),
        ({"last": b"", "at1_dense": (0, 5)}, r"last\.ckpt is not a readable.*may be the newest"),
        ({"last": (1, 3), "at2_experts": b"PK"}, r"2-experts\.ckpt is not a readable.*give the furthest.*last\.ckpt"),
        ({"last": b"1", "at2_experts": b"2"}, "is not a readable"),
    ],
)
def test_a_damaged_checkpoint_is_not_passed_over(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as told:
        load_checkpoint(run(tmp_path / "run", **files))
    assert "\n" not in str(told.value)


def test_foreign_files_are_told(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", at1_dense=(0, 5))
    torch.save({"weights": torch.zeros(3)}, folder / "checkpoints" / "epoch=3.ckpt")
    with pytest.raises(
        UserError, match=r"epoch=3\.ckpt does not say of which stage and step it is: it was not written by rsmoe\.train"
    ):
        find_checkpoint(folder)
    (folder / "checkpoints" / "epoch=3.ckpt").rename(folder / "checkpoints" / ".epoch=3.ckpt")
    assert find_checkpoint(folder).name == "1-dense.ckpt"


def test_looking_for_the_newest_reads_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path / "run", at1_dense=(0, 5), last=(1, 5))
    real, mapped = torch.load, []

    def load(*args: Any, **options: Any) -> Any:
        mapped.append(options["mmap"])
        return real(*args, **options)

    monkeypatch.setattr(torch, "load", load)
    find_checkpoint(folder)
    assert mapped == [True, True]
    load_checkpoint(folder)
    assert mapped == [True, True, True, True, False]


def test_a_copy_with_shuffled_times_gives_the_same(tmp_path: Path) -> None:
    shutil.copytree(run(tmp_path / "run", at1_a=(0, 5), at2_b=(1, 5)), tmp_path / "copy", copy_function=shutil.copy)
    os.utime(tmp_path / "copy" / "checkpoints" / "1-a.ckpt", (2e9, 2e9))
    assert find_checkpoint(tmp_path / "copy").name == "2-b.ckpt"


# the device


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=f"device={name}: torch .* sees no CUDA device here. Give device=cpu"):
            pick_device(name)
    for name in ("gpu", "cuda:x", "cuda:-1", "tpu", "", "None", "0", "cpu:0", "CUDA"):
        with pytest.raises(UserError, match="expected auto, cpu, cuda, cuda:1"):
            pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda") and pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="device=cuda:2: torch .* sees 2 CUDA devices, cuda:0 to cuda:1"):
        pick_device("cuda:2")


def test_device_and_ranks_do_not_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_ranks(device="cpu", accelerator="auto", devices=1, num_nodes=1).device.type == "cpu"
    assert open_ranks(device="auto", accelerator="cpu", devices=1, num_nodes=1).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"device=cpu and ranks\.accelerator=gpu contradict"):
        open_ranks(device="cpu", accelerator="gpu", devices=1, num_nodes=1)
    with pytest.raises(UserError, match=r"device=cuda:1 is one device, ranks\.devices=2"):
        open_ranks(device="cuda:1", accelerator="auto", devices=2, num_nodes=1)


def test_every_tensor_of_a_batch_goes_to_the_device() -> None:
    batch = batch_of()
    moved = batch.to("meta")
    names = [f.name for f in fields(batch) if isinstance(getattr(batch, f.name), Tensor)]
    assert len(names) > 10 and all(getattr(moved, name).is_meta for name in names)


def test_predict_asks_where_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, where nothing can be computed: what arrives there is looked at instead."""
    from PIL import Image
    from support.checkpoints import tiny_run

    folder = tiny_run(tmp_path / "run", steps=1)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    seen: list[Any] = []

    class Asked(Exception):
        pass

    def perceive(model: Any, batch: Any, **options: Any) -> Perception:
        seen.extend([model.to_lm.weight, batch.pixels, batch.prompt_ids, model.serves_task])
        raise Asked

    monkeypatch.setattr(rsmoe.evaluation.open_run, "pick_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(RSMoE, "perceive", perceive)
    with pytest.raises(Asked):
        rsmoe.load(folder, device="anything").ask(tmp_path / "a.png")
    assert all(tensor.is_meta for tensor in seen)
    monkeypatch.undo()
    assert rsmoe.load(folder, device="cpu").ask(tmp_path / "a.png", max_new=4).text is not None
    with pytest.raises(UserError, match="device=nowhere"):
        rsmoe.load(folder, device="nowhere")
