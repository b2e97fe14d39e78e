"""Every command refuses wrong words in one line that names the key, before any work."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError
from support.commands import BASE

from rsmoe.cli.check import check_config, checked
from rsmoe.cli.help import COMMANDS
from rsmoe.cli.words import spelled
from rsmoe.config import compose, conf_dir
from rsmoe.errors import UserError
from rsmoe.settings import settings_of
from rsmoe.settings.model import fields_of, mapping_of
from rsmoe.settings.stage import Stage
from rsmoe.settings.trainer import Trainer

DIGITS = "1" * 10_000
WRONG = {
    "train": (
        "seed=x seed=-1 seed=1.5 seed=null seed=true seed=[1] seed= image_size=32.5 image_size=0 image_size=-8 "
        "image_size=x bands=0 bands=3.0 bands=1 mean=[0.5] mean=0.5 mean=[0.5,x,0.5] mean=[0.5,nan,0.5] std=[1,1,0] "
        "std=[0.2,0.2,-1] std=[inf,1,1] noun_grounding=1 noun_grounding=x checkpoint_every=0 checkpoint_every=-1 "
        "checkpoint_every=1.5 evaluation.splits=[] evaluation.splits=[dev] evaluation.splits=test evaluation.beams=0 "
        "evaluation.beams=2.5 evaluation.beams=1000 evaluation.max_new=0 evaluation.max_new=1000000000 "
        "evaluation.limit=-1 evaluation.limit=0 evaluation.metrics=3 loader.workers=-1 loader.workers=x "
        "loader.eval_batch_size=0 loader.collate.crop_area=0 loader.collate.crop_area=2 loader.collate.jitter=-1 "
        "loader.collate.max_prompt=1 +loader.stream=3 +loader.stream.lanes=0 "
        "trainer.devices=0 trainer.devices=-2 trainer.devices=1.5 trainer.devices=two +trainer.num_nodes=0 "
        "+trainer.precision=8 +trainer.accumulate_grad_batches=0 name= resume= data.root= expert=[] corpus=[] "
        "stage.dense.steps=-1 stage.dense.lr=-1 stage.dense.lr=nan stage.dense.lr=x "
        "stage.dense.warmup=-1 stage.dense.weight_decay=-0.1 stage.dense.weight_decay=nan "
        "+trainer.gradient_clip_val=-1 "
        "stage.dense.smoothing=1.5 stage.dense.losses.text=-1 stage.dense.losses.text=nan "
        "stage.dense.losses=3 stage.dense.batch_size=0 stage.dense.requests_per_view=0 "
        "stage.dense.train=[] stage.dense.teacher_forcing=0.5 stage.dense.teacher_forcing=[2,0] "
        "stage.dense.single_expert=1 stage.dense.lr_groups.vision=-1 stage.dense.mix=[a] "
        "+stage.dense.mix.nosuch=1 stage=[] stage.dense=3 +mix.nosuch=1 mix=[a] world=mars real=3 compile=1"
    ).split(),
    "evaluate": (
        "beams=0 beams=x max_new=0 limit=-1 limit=0 batch_size=0 workers=-1 neighbours=0 draws=-1 draws=1e12 "
        "draws=1000000000000 pictures=-1 dry=1 ranks.devices=0 ranks.devices=x ranks.num_nodes=0 ranks.accelerator=3 "
        "sample_ids=[] evaluation.metrics=x"
    ).split(),
    "predict": (
        "temperature=-1 temperature=2.1 temperature=nan temperature=x temperature=null top_p=-0.1 top_p=1.1 top_p=x "
        "top_p=0.9 seed=-1 seed=0.5 seed=null stop=[a,] "
        "beams=0 beams=2.5 beams=true max_new=0 max_new=-1 max_new=1000000000 tile=2.5 tile=-1 tile=3 tile=x "
        "raster.bands=3 raster.bands=[] raster.bands=[1.5] raster.wavelengths_nm=[-1] raster.wavelengths_nm=665 "
        "raster.nodata=x raster.stretch=[1] raster.stretch=3 image=[] image=[a.png,] classes=3 instruction= checkpoint="
    ).split(),
    "serve": (
        "port=-1 port=70000 port=x beams=0 max_new=0 batch_size=0 window_ms=-1 window_ms=nan queue=0 max_mb=0 "
        "max_mb=1.5 max_pixels=0 max_pictures=0 max_pictures=100 body_seconds=0 body_seconds=-1 host= key= device=tpu"
    ).split(),
    "score": "draws=-1 draws=1e12 seed=x seed=-1 json=1 split=3 split= predictions=".split(),
    "inspect": "rows=-1 rows=x sheet=-1 sheet=1.5 split=3 split= out=".split(),
    "overlap": "threshold=2 threshold=-0.1 threshold=nan threshold=x sheet=-1 train=[] train=3 test=[1] test=".split(),
    "shard": ("shard_size=0 seed=-1 pixels=png check=1 processes=-1 max_bad_fraction=2 verify=yes_please").split(),
    "compare": "format=html digits=-1 digits=100 digits=1.5 metrics=[] runs=[a,]".split(),
    "stress": (
        "pairs=0 pairs=-1 tile=0 tile=2.5 text=-1 batch_size=0 beams=0 max_new=0 draws=-1 seed=x checkpoint=[] "
        "perturbations=[] perturbations=[3]"
    ).split(),
    "swap": "pairs=0 pairs=1.5 beams=0 max_new=0 split=3".split(),
    "experts": "limit=0 batch_size=0 beams=0 max_new=0 draws=-1 seed=x checkpoint= out= scores.vqa=3".split(),
    "change_detection": "limit=-1 limit=0 tile=3 tile=x kinds=[0] kinds=1 kinds=[] pictures=-1 draws=-1".split(),
    "export": "out= checkpoint=".split(),
    "index": (
        "images= images=[] images=[a,] out= checkpoint= tile=-1 tile=3 tile=x tile=2.5 tile=null overlap=-0.1 "
        "overlap=1 overlap=x batch_size=0 device=tpu raster.bands=3 raster.nodata=x raster.stretch=3"
    ).split(),
    "search": (
        "text= image= store= bbox=3 bbox=[1,2,3] bbox=[1,2,3,x] bbox=[1,2,3,nan] dates=[2020] dates=[2020,2021,2022] "
        "limit=0 limit=1001 limit=x out= checkpoint= device=tpu"
    ).split(),
    "knowledge": (
        "notes= images= out= checkpoint= alike=2 alike=x limit=0 limit=1.5 weight=2 weight=-1 lookup=3 batch_size=0 "
        "device=tpu generated.split=all generated.size=0 generated.seed=-1 generated.size_px=1"
    ).split(),
    "localise": (
        "text= image= out= checkpoint= sides=[] sides=[3] sides=[x] sides=3 batch_size=0 device=tpu raster.bands=3"
    ).split(),
    "segment": (
        "names=[] names=water names={water:[]} image= out= checkpoint= aggregation= other=x tile=-1 tile=x tile=2.5 "
        "device=tpu raster.bands=3"
    ).split(),
    "contrast": (
        "seed=-1 image_head.dim=0 captions=0 captions=1.5 corpus=[] limit=0 draws=-1 image_head.heads=-1 "
        "image_head.hidden=0 image_head.dropout=2 stage.steps=0 stage.batch_size=0 stage.lr=-1 stage.lr=x "
        "stage.train=[] stage.mix=[a] "
        "+stage.mix.nosuch=1 stage.warmup=-1 mean=[0.5] std=[1,1,0] text_tower.depth=-1 text_tower.word_dropout=1 "
        "text_tower.heads=0 pair_loss.temperature=0 pair_loss.smoothing=1 checkpoint_every=0 resume= features=3"
    ).split(),
    "convert_clip": "kind=mine kind=3 image_size=0 image_size=x file= out= tokenizer=".split(),
}
CASES = [(name, word) for name, words in WRONG.items() for word in words]
RANGES = {"+loader.stream.lanes": "loader.stream.lanes"}


def test_there_are_many() -> None:
    assert len(CASES) >= 120


def test_a_search_is_not_sampled() -> None:
    assert line("predict", "temperature=0.7", "beams=3") == (
        "temperature=0.7 draws tokens, beams=3 searches: give one of them"
    )
    assert "top_p=0.9 limits what is drawn, and temperature=0 draws nothing" in line("predict", "top_p=0.9")
    checked("predict", [*BASE["predict"], "temperature=0.7", "top_p=0.9", "stop=['. ',two words]"])


def line(name: str, *words: str) -> str:
    """What the command would end with."""
    own = {word.partition("=")[0] for word in words}
    with pytest.raises(UserError) as caught:
        checked(name, [*(w for w in BASE[name] if w.partition("=")[0] not in own), *words])
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 1500
    return text


@cache
def composed(name: str) -> DictConfig:
    """What the shortest arguments of a command come to: composing takes ten times as long as the check."""
    return compose([spelled(word, settings_of(name)) for word in BASE[name]], name=name)


def refused(name: str, word: str) -> str:
    """As `line`, of one other value in a config that is composed already."""
    cfg, typed = composed(name).copy(), OverridesParser.create().parse_override(spelled(word, settings_of(name)))
    try:
        OmegaConf.update(cfg, typed.key_or_group, typed.value(), merge=False)
    except ConfigAttributeError:  # it is not in the yaml
        return line(name, word)
    with pytest.raises(UserError) as caught:
        check_config(settings_of(name), cfg)
    return str(caught.value)


@pytest.mark.parametrize(("name", "word"), CASES, ids=lambda part: part[:60])
def test_a_wrong_value_is_one_line_with_its_key(name: str, word: str) -> None:
    key = word.partition("=")[0]
    adds = key.startswith("+") or key in settings_of(name).groups or key == "seed"
    said = line(name, word) if adds else refused(name, word)
    assert "\n" not in said and (key.lstrip("+") in said or key.rpartition(".")[2] in said)


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_of_ten_thousand_digits_and_unknown_keys(name: str) -> None:
    key = next((k for k, f in fields_of(settings_of(name)) if k in ("seed", "beams", "digits", "sheet")), "seed")
    assert key in line(name, f"{key}={DIGITS}")
    assert "nosuch" in line(name, "+nosuch=1")
    if name in ("train", "predict"):  # with groups, and without
        assert all("nosuch" in line(name, word) for word in ("nosuch=1", "~nosuch", "nosuch"))


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("train", "score", "serve", "contrast")])
def test_what_is_a_file_is_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in line(name, f"out={tmp_path}/file/out")


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "hydra.run.dir" in line("train", f"hydra.run.dir={tmp_path}/file/run")
    assert "hydra.sweep.dir" in line("train", "-m", f"hydra.sweep.dir={tmp_path}/file", "seed=0,1")


def _leaves(node: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for key, value in node.items():
        if key not in ("defaults", "hydra"):
            found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key}
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_yaml_and_schema_have_the_same_keys(name: str) -> None:
    settings = settings_of(name)
    content = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text())
    choices = {g.removeprefix("optional ") for d in content["defaults"] if isinstance(d, dict) for g in d}
    known = {
        key for key, field in fields_of(settings) if mapping_of(field) is None and key.split(".")[0] not in choices
    }
    needed = {key for key, field in fields_of(settings) if field.is_required()}
    assert _leaves(content) <= {key for key, _ in fields_of(settings)}
    assert {key for key in known if key in needed} <= _leaves(content)
    assert all(field.description for key, field in fields_of(settings) if key in known)
    assert settings.examples and settings.__doc__


def test_the_trainer_s_names_are_lightning_s() -> None:
    typed = {f.alias or name for name, f in Trainer.model_fields.items()} - {"_target_"}
    assert {*Trainer.others, *typed} == set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert "precison" in line("train", "+trainer.precison=bf16-mixed")


_WRONG = [("lr", float("nan")), ("smoothing", 2), ("steps", True), ("train", "vision.*")]


@pytest.mark.parametrize(("key", "value"), _WRONG)
def test_a_stage_checks_its_fields_wherever_it_comes_from(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"stage\.x\.{key}="):
        Stage(**{"name": "x", "steps": 1, key: value})  # type: ignore[arg-type]
