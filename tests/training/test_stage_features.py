"""A stage on features that were computed before: the same numbers, and only where nothing else can change a picture."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import EXPERTS, TRAINER, Listed, equal

from rsmoe.build import load_run
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.training import stage_features as module
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint
from rsmoe.training.run import run_stages
from rsmoe.training.stage_features import stage_features

STILL = {"crop_area": 1.0, "jitter": 0.0}
ENCODERS = {
    "resnet": (),
    "lite": ("vision=efficientnet_lite0", "vision.finest=16"),
    "lite_projected": ("vision=efficientnet_lite0", "vision.width=16"),
    "lite_tuned": ("vision=efficientnet_lite0", "vision.finest=32", "vision.frozen_to=16"),
}
ALSO = {"lite_projected": ["vision.project"], "lite_tuned": ["vision.trunk.blocks[11:]", "vision.trunk.head"]}


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """The requests, their pictures in files; the last two are on one picture, and its words name a side."""
    made = []
    for sample in requests():
        paths = []
        for time, image in enumerate(sample.images):
            assert isinstance(image, np.ndarray)
            paths.append(tmp_path / f"{sample.id}.{time}.png")
            Image.fromarray(image).save(paths[-1])
        made.append(replace(sample, images=tuple(paths)))
    made[-1] = replace(made[-1], images=made[-2].images, responses=("a forest on the left",), directional=True)
    return made


def data_of(samples: list[Sample], **options: Any) -> RSDataModule:
    codec, words = codecs()
    shape = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "collate": STILL}
    return RSDataModule(train={"hand": Listed(samples)}, codec=codec, instruction_codec=words, **(shape | options))


def trained(
    folder: Path,
    samples: list[Sample],
    encoder: str,
    features: dict[str, Any] | None,
    also: tuple[str, ...] = (),
    **options: Any,
) -> RSMoE:
    codec, words = codecs()
    overrides = ("bank.dropout=0.2", *ENCODERS[encoder])
    model = tiny_model(*overrides)
    hparams = {"config": tiny_config(*overrides), "codec": codec.state(), "instruction_codec": words.state()}
    size = {"image_size": 32 if encoder == "resnet" else 64}
    train = [*EXPERTS.train, "temporal.*", *ALSO.get(encoder, []), *also]
    run_stages(
        model=model, data=data_of(samples, **size, **options), stages=[replace(EXPERTS, steps=3, train=train)], seed=3,
        folder=folder, hparams=hparams, trainer=TRAINER, logger=None, checkpoint_every=5, resume=None,
        features=features,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("learns", [False, True])
def test_a_run_is_loaded_again_with_the_weights_of_the_package_or_its_own(
    tmp_path: Path, samples: list[Sample], learns: bool
) -> None:
    model = trained(tmp_path / "run", samples, "lite", None, also=("vision.*",) if learns else ())
    saved = load_checkpoint(find_checkpoint(tmp_path / "run"))
    held = "model.vision.trunk.stem.conv.weight" in saved["state_dict"]
    assert held == learns
    assert equal(load_run(saved)[0], model)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_on_them_gives_the_same_weights(tmp_path: Path, samples: list[Sample], encoder: str) -> None:
    plain = trained(tmp_path / "plain", samples, encoder, None)
    folder = {"folder": str(tmp_path / "store")}
    first = trained(tmp_path / "first", samples, encoder, folder)
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.safetensors")}
    again = trained(tmp_path / "again", samples, encoder, folder, workers=1)
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.safetensors")} and files
    assert equal(plain, first) and equal(first, again)  # to the last bit, turned pictures and pairs among them


def test_half_the_bits_are_half_the_size_and_near(tmp_path: Path, samples: list[Sample]) -> None:
    sizes = {}
    for dtype in ("float32", "float16"):
        store = stage_features(
            tiny_model().requires_grad_(False), data_of(samples), EXPERTS, folder=str(tmp_path / dtype), dtype=dtype
        )
        assert store is not None
        sizes[dtype] = sum(level.nbytes for level in store(samples[0].images[0], 2))
        assert {level.dtype for level in store(samples[0].images[0], 2)} == {getattr(torch, dtype)}
    assert sizes["float32"] == 2 * sizes["float16"]


def test_only_turns_that_the_words_can_follow_are_computed(tmp_path: Path, samples: list[Sample]) -> None:
    def count(chosen: list[Sample], **options: Any) -> int:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        store = stage_features(model, data_of(chosen, **options), EXPERTS, folder=str(place))
        assert store is not None
        return len(store)

    model = tiny_model().requires_grad_(False)
    assert count(samples[:1]) == 8
    assert count(samples[:1], augment=False) == 1
    assert count([samples[2]]) == 16  # both dates
    fixed = replace(samples[0], responses=("a ship at [12, 30, 45, 60]",))
    assert count([fixed]) == 1


def test_an_encoder_that_trains_has_none(tmp_path: Path, samples: list[Sample]) -> None:
    model = tiny_model().requires_grad_(False)
    next(model.vision.parameters()).requires_grad_(True)
    assert stage_features(model, data_of(samples), EXPERTS, folder=str(tmp_path / "store")) is None
    assert not (tmp_path / "store").exists()


def test_other_weights_and_other_pixels_never_meet(tmp_path: Path, samples: list[Sample]) -> None:
    def place(model: RSMoE, **options: Any) -> Path:
        store = stage_features(model, data_of(samples[:1], **options), EXPERTS, folder=str(tmp_path / "store"))
        assert store is not None
        return store.folder

    model = tiny_model().requires_grad_(False)
    first = place(model)
    assert first == place(model)
    assert first != place(model, mean=(0.4,) * 3) and first != place(model, image_size=64)
    with torch.no_grad():
        next(model.vision.parameters()).mul_(1.001)
    assert place(model) != first


def test_pictures_that_change_in_other_ways_are_refused_with_what_to_type(
    tmp_path: Path, samples: list[Sample]
) -> None:
    model = tiny_model().requires_grad_(False)
    given = {"folder": str(tmp_path / "store")}
    with pytest.raises(UserError, match=r"give loader.collate.crop_area=1.0 loader.collate.jitter=0.0, or loader.aug"):
        stage_features(model, data_of(samples, collate={}), EXPERTS, **given)
    with pytest.raises(UserError, match=r"give loader.collate.match_levels=false$"):
        stage_features(model, data_of(samples, collate=STILL | {"match_levels": True}), EXPERTS, **given)
    with pytest.raises(UserError, match="read by index; leave loader.stream out"):
        stage_features(model, data_of(samples, stream={}), EXPERTS, **given)
    with pytest.raises(UserError, match=r"take 0\.\d\d MB, and .* holds 0.00 MB: more than features.max_gb=1e-06"):
        stage_features(model, data_of(samples), EXPERTS, max_gb=1e-6, **given)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_stores_that_nobody_opened_for_a_day_make_room(tmp_path: Path, samples: list[Sample]) -> None:
    model, data = tiny_model().requires_grad_(False), data_of(samples)
    old, new, users = tmp_path / ("0" * 32), tmp_path / ("1" * 32), tmp_path / "weights"
    for folder in (old, new, users):
        folder.mkdir()
        (folder / "0.safetensors").write_bytes(bytes(10**7))
    (old / "notes.txt").touch()
    for folder in (old, users):
        os.utime(folder, (0, 0))
    with pytest.raises(UserError, match="holds 20.00 MB: more than features.max_gb=0.02"):
        stage_features(model, data, EXPERTS, folder=str(tmp_path), max_gb=0.02)
    assert [p.name for p in old.iterdir()] == ["notes.txt"]
    (old / "0.safetensors").touch()
    os.utime(old, (0, 0))
    assert stage_features(model, data, EXPERTS, folder=str(tmp_path), max_gb=0.03)
    assert all((folder / "0.safetensors").is_file() for folder in (old, new, users))  # there was room for all


def test_ranks_and_an_interrupted_run_share_the_work(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tiny_model().requires_grad_(False), data_of(samples)
    monkeypatch.setattr(module, "_FILE", 5)
    done: list[int] = []
    real = module._encoded

    def counted(part: Any, views: Any, *rest: Any) -> Any:
        done.append(len(views))
        if len(done) == 6:
            raise KeyboardInterrupt
        return real(part, views, *rest)

    monkeypatch.setattr(module, "_encoded", counted)
    place = {"folder": str(tmp_path / "store"), "world": 2}
    with pytest.raises(KeyboardInterrupt):
        stage_features(model, data, EXPERTS, rank=1, **place)
    before = len(list(tmp_path.rglob("*.safetensors")))
    stage_features(model, data, EXPERTS, rank=0, **place)
    files = list(tmp_path.rglob("*.safetensors"))
    assert before == 4 and len(files) == len(done) - 3  # once a file; two looks at one view, and the interrupted one
    monkeypatch.setattr(module, "_encoded", real)
    assert stage_features(model, data, EXPERTS, rank=1, **place) is not None
    assert sorted(files) == sorted(tmp_path.rglob("*.safetensors"))
