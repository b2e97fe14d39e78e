"""Arguments of parts: whatever conf/ composes passes, and a wrong value is one line with its key, before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from omegaconf import OmegaConf
from pydantic import Field

from rsmoe.checks.arguments import check_arguments
from rsmoe.config import compose, conf_dir
from rsmoe.data.collate import Collate
from rsmoe.errors import UserError
from rsmoe.parts import check_parts, instantiate, known_parts, locate

GROUPS = (
    "vision", "temporal", "maps", "qformer", "bypass", "regions", "router", "prompts", "lm", "bank", "fusion",
    "trainer", "text_tower", "pair_loss",
)  # fmt: skip
NAN = float("nan")


def yaml(group: str, name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(conf_dir() / group / f"{name}.yaml"))  # type: ignore[return-value]


@pytest.mark.parametrize("path", sorted(conf_dir().glob("experiment/*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_passes(path: Path) -> None:
    check_parts(compose([f"experiment={path.stem}"]))


@pytest.mark.parametrize("group", [*GROUPS, "data", "logger", "expert"])
def test_every_yaml_passes(group: str) -> None:
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        node = yaml(group, path.stem)
        node.pop("defaults", None)
        check_parts({group: {path.stem: node} if group in ("expert", "maps") else node})


def test_every_corpus_and_benchmark_passes() -> None:
    for path in sorted((conf_dir() / "corpus").glob("*.yaml")):
        check_parts(compose([f"corpus={path.stem}"]))
    for path in sorted((conf_dir() / "benchmark").glob("*.yaml")):
        check_parts(compose([f"benchmark={path.stem}"], name="evaluate"))


def test_every_part_of_conf_is_found_by_its_group() -> None:
    for group, targets in known_parts().items():
        for target in targets:
            assert callable(locate(target)), group


LM, LLAMA = yaml("lm", "tiny"), yaml("lm", "tiny")["config"]
WRONG: list[tuple[str, str, str, Any, str]] = [
    # group, yaml, key, value, expected
    ("vision", "resnet_tiny", "bands", 0, "1 or more"),
    ("vision", "resnet_tiny", "bands", "3", "a whole number"),
    ("vision", "resnet_tiny", "bands", 3.0, "a whole number"),
    ("vision", "resnet_tiny", "bands", True, "a whole number"),
    ("vision", "resnet_tiny", "bands", None, "a whole number"),
    ("vision", "resnet_tiny", "bands", [3], "a whole number"),
    ("vision", "resnet_tiny", "bands", 10**5000, "2147483647 at most"),
    ("vision", "resnet_tiny", "stem", -32, "1 or more"),
    ("vision", "resnet_tiny", "widths", 64, "a list"),
    ("vision", "clip_vit_l14", "lora", {"rank": 0}, "1 or more"),
    ("vision", "clip_vit_l14", "lora", {"rank": 2, "aplha": 4}, "no such key"),
    ("vision", "clip_vit_l14", "lora", {}, "its key rank"),
    ("vision", "resnet_tiny", "widths", "64", "a list"),
    ("vision", "resnet_tiny", "widths", {"0": 64}, "a list"),
    ("vision", "resnet_tiny", "depths", [2, 2, 2.5, 2], "a whole number"),
    ("vision", "resnet_tiny", "depths", [2, 2, 2, 10**9], "1000 at most"),
    ("vision", "resnet_tiny", "token_stages", 0, "1 or more"),
    ("vision", "resnet_tiny", "stem_level", "yes", "true or false"),
    ("vision", "resnet_tiny", "stem_level", 1, "true or false"),
    ("vision", "resnet_tiny", "block", "wide", "'basic' or 'bottleneck'"),
    ("vision", "resnet_tiny", "dropout", NAN, "a finite number"),
    ("vision", "resnet_tiny", "dropout", 1.0, "less than 1"),
    ("vision", "resnet_tiny", "dropout", -0.1, "0.0 or more"),
    ("vision", "resnet_tiny", "dropout", False, "a number"),
    ("vision", "convnext_tiny", "patch", 0, "1 or more"),
    ("vision", "vit_tiny", "width", -192, "1 or more"),
    ("vision", "vit_tiny", "depth", 0, "1 or more"),
    ("vision", "vit_tiny", "heads", 2.5, "a whole number"),
    ("vision", "vit_tiny", "image_size", "96", "a whole number"),
    ("vision", "vit_tiny", "pyramid_width", 0, "1 or more"),
    ("vision", "clip_vit_l14", "pretrained", 5, "text"),
    ("vision", "clip_vit_l14", "config", "clip", "a mapping"),
    ("vision", "clip_vit_l14", "select_layer", 1.5, "a whole number"),
    ("vision", "clip_vit_l14", "keep_prefix", None, "true or false"),
    ("temporal", "csrm", "variant", "code", "'released' or 'paper'"),
    ("temporal", "csrm", "variant", 1, "'released' or 'paper'"),
    ("temporal", "csrm", "dropout", math.inf, "a finite number"),
    ("temporal", "concat", "mark_dates", 0, "true or false"),
    ("temporal", "cross_attention", "layers", 0, "1 or more"),
    ("temporal", "cross_attention", "heads", -8, "1 or more"),
    ("temporal", "cross_attention", "grid", [8, 0], "1 or more"),
    ("temporal", "frames", "slots", 0, "1 or more"),
    ("temporal", "frames", "period", 0, "more than 0"),
    ("temporal", "semantic", "classes", "6", "a whole number"),
    ("temporal", "semantic", "cells", 0, "1 or more"),
    ("maps", "change", "kinds", 0, "1 or more"),
    ("maps", "change", "search", -1, "0 or more"),
    ("maps", "change", "min_pixels", 0, "1 or more"),
    ("maps", "land_cover", "classes", "water", "a list"),
    ("maps", "land_cover", "classes", ["water", 5], "text"),
    ("maps", "land_cover", "shown", 0, "1 or more"),
    ("qformer", "instruct_tiny", "width", "192", "a whole number"),
    ("qformer", "instruct_tiny", "queries", 0, "1 or more"),
    ("qformer", "instruct_tiny", "layers", -1, "1 or more"),
    ("qformer", "instruct_tiny", "cross_attention_frequency", 0, "1 or more"),
    ("qformer", "instruct_tiny", "init_std", -0.02, "0.0 or more"),
    ("qformer", "instruct_tiny", "bert", ["a"], "text"),
    ("qformer", "resampler", "intermediate", 0, "1 or more"),
    ("qformer", "pooled", "queries", None, "a whole number"),
    ("choice", "threshold", "k", 0, "1 or more"),
    ("choice", "threshold", "threshold", 1.5, "1.0 at most"),
    ("router", "instruction", "jitter", -1, "0.0 or more"),
    ("prompts", "soft", "tokens", 0, "1 or more"),
    ("prompts", "text", "tokens", 2.0, "a whole number"),
    ("lm", "tiny", "config", [], "a mapping"),
    ("lm", "tiny", "dtype", "int8", "'float32', 'bfloat16' or 'float16'"),
    ("lm", "tiny", "attention", "kernels-community/x", "'sdpa'"),
    ("lm", "tiny", "pretrained", True, "text"),
    ("bank", "shared", "rank", 0, "1 or more"),
    ("bank", "shared", "alpha", "x", "a number"),
    ("bank", "shared", "alpha", 0, "more than 0"),
    ("bank", "shared", "targets", "q_proj", "a list"),
    ("bank", "separate", "rank", 2.5, "a whole number"),
    ("bank", "separate", "dropout", 2, "less than 1"),
    ("fusion", "mixture", "length_penalty", NAN, "a finite number"),
    ("fusion", "mixture", "length_weight", -1, "0.0 or more"),
    ("bank", "token", "k", 0, "1 or more"),
    ("bank", "token", "balance", -0.5, "0.0 or more"),
    ("trainer", "cpu", "accelerator", 5, "text"),
    ("trainer", "cpu", "devices", {"a": 1}, "a list or text or a whole number"),
    ("data", "resisc45", "val_fraction", 1.5, "less than 1"),
    ("data", "resisc45", "root", 5, "text"),
    ("data", "scenes", "size", 0, "1 or more"),
    ("data", "scenes", "seed", "x", "a whole number"),
    ("data", "scene_changes", "open_turns", -1, "0 or more"),
    ("data", "scene_changes", "scenes", {"train": 1.5}, "a whole number"),
    ("data", "own_jsonl", "task", ["vqa"], "text"),
    ("data", "pair_instructions", "nouns", "road", "a list"),
    ("data", "dota", "max_boxes", -1, "0 or more"),
]


IDS = [f"{group}.{key}-{place}" for place, (group, _, key, *_) in enumerate(WRONG)]


@pytest.mark.parametrize(("group", "name", "key", "value", "expected"), WRONG, ids=IDS)
def test_wrong_values_are_one_line(group: str, name: str, key: str, value: Any, expected: str) -> None:
    node = yaml(group, name) | {key: value}
    with pytest.raises(UserError) as error:
        check_parts({group: {name: node} if group == "maps" else node})
    message = str(error.value)
    place = f"{group}.{name}" if group == "maps" else group
    assert message.startswith(f"{place}.{key}") and f"expected {expected}" in message
    assert "\n" not in message and len(message) < 250


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vision": yaml("vision", "resnet_tiny") | {"width": 3}}, "'width'. Did you mean 'widths'"),
        ({"expert": {"vqa": yaml("expert", "vqa") | {"name": 5}}}, "expert.vqa.name=5: expected text"),
        ({"expert": {"vqa": yaml("expert", "vqa") | {"tasks": ["vqa", 1]}}}, "expert.vqa.tasks.1=1: expected text"),
        ({"expert": {"mask": yaml("expert", "mask") | {"width": "64"}}}, "expert.mask.width='64': expected a whole"),
        ({"expert": {"vqa": yaml("vision", "resnet_tiny")}}, "expert.vqa._target_=.*expected a rsmoe.*Expert"),
        ({"vision": yaml("data", "dota")}, "vision._target_=.*expected a torch.nn.Module"),
        ({"trainer": yaml("logger", "csv")}, "trainer._target_=.*expected a lightning.*Trainer"),
        ({"vision": {"_target_": "rsmoe.vision.resnet.resnet"}}, "cannot be imported"),
        ({"prompts": yaml("prompts", "text") | {"lm": {"_target_": "os.mkdir"}}}, "'os.mkdir' is not trusted"),
        ({"prompts": yaml("prompts", "text") | {"lm": yaml("lm", "tiny") | {"dtype": 5}}}, "prompts.lm.dtype=5"),
        ({"lm": LM | {"config": {"model_type": "lama"}}}, "unknown lm.config.model_type 'lama'. Did you mean 'llama'"),
        ({"lm": LM | {"config": LLAMA | {"hidden_size": 2.5}}}, "lm.config.hidden_size=2.5: expected a whole number"),
        ({"lm": LM | {"config": LLAMA | {"hidden_size": -16}}}, "lm.config.hidden_size=-16: expected 1 or more"),
        ({"lm": LM | {"config": LLAMA | {"num_hidden_layers": 10**6}}}, "num_hidden_layers=1000000: expected 1000 at"),
        ({"lm": LM | {"config": LLAMA | {"attention_dropout": 1.5}}}, "attention_dropout=1.5: expected 0 or more and"),
        ({"lm": LM | {"config": LLAMA | {"rms_norm_eps": NAN}}}, "lm.config.rms_norm_eps=nan: expected a finite"),
        ({"trainer": yaml("trainer", "cpu") | {"max_steps": "x"}}, "trainer.max_steps=.x.: expected a whole number"),
        ({"lm": yaml("vision", "resnet_tiny")}, "lm._target_=.*expected a rsmoe.*causal_lm"),
        ({"vision": None}, "vision=None: expected a part, vision=<name>, one of conf/vision"),
        ({"router": "x"}, "router='x': expected a part"),
        ({"bypass": 5}, "bypass=5: expected a part"),
        ({"loader": {"collate": {"max_prompt": 1}}}, "loader.collate.max_prompt=1: expected 2 or more"),
        ({"loader": {"collate": {"crop_area": 0}}}, "loader.collate.crop_area=0: expected more than 0"),
        ({"loader": {"collate": {"jitter": "x"}}}, "loader.collate.jitter='x': expected a number"),
        ({"loader": {"collate": {"max_promt": 5}}}, "'max_promt'. Did you mean 'max_prompt'"),
        ({"raster": {"bands": 3}}, "raster.bands=3: expected a list"),
        ({"raster": {"bands": [1, None]}}, "raster.bands.1=None: expected a whole number or text"),
        ({"raster": {"nodata": "x"}}, "raster.nodata='x': expected a number"),
        ({"raster": {"band": [1]}}, "'band'. Did you mean 'bands'"),
        ({"data": yaml("data", "own_folder") | {"raster": {"bands": 3}}}, "data.raster.bands=3: expected a list"),
        (
            {"corpus": {"a": {"reader": yaml("data", "scenes"), "train": {"size": "many"}}}},
            "corpus.a.train.size='many': expected a whole number",
        ),
        (
            {"corpus": {"a": {"reader": yaml("data", "scenes") | {"size": -1}}}},
            "corpus.a.reader.size=-1: expected 1 or more",
        ),
        ({"trainer": yaml("trainer", "cpu") | {"callbacks": [{"_target_": "os.mkdir"}]}}, "is not trusted"),
        ({"vision": yaml("vision", "resnet_tiny") | {"stem": yaml("trainer", "cpu")}}, "Trainer' is not trusted"),
        ({"vision": yaml("vision", "resnet_tiny") | {"_args_": [1]}}, "takes its arguments by name"),
    ],
)  # fmt: skip
def test_the_key_is_the_command_lines(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check_parts(config)
    assert "\n" not in str(error.value)


def test_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda self: pytest.fail("a module was built"))
    check_parts(compose([]))


def part(
    *,
    count: Annotated[int, Field(ge=1)],
    sizes: tuple[int, ...] = (),
    pair: tuple[int, str] | None = None,
    kind: Literal["a", "b"] | None = None,
    words: Sequence[Sequence[str]] = (),
    anything: Any = None,
    unnoted=None,  # type: ignore[no-untyped-def]
) -> None:
    """Takes everything that a constructor may."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "part needs x.count"),
        ({"count": 1, "sizes": [1, 2], "pair": [1, "a"], "kind": None, "words": [["a"]], "unnoted": object()}, ""),
        ({"count": 1, "sizes": (1, "2")}, "x.sizes.1='2': expected a whole number"),
        ({"count": 1, "pair": [1]}, "x.pair"),
        ({"count": 1, "kind": "c"}, "x.kind='c': expected 'a' or 'b'"),
        ({"count": 1, "words": ["ab"]}, "x.words.0='ab': expected a list"),
        ({"count": 1, "words": [["a", 1]]}, "x.words.0.1=1: expected text"),
        ({"count": 1, "anything": {"a": [1.0, NAN]}}, "x.anything.a.1=nan: expected a finite number"),
        ({"count": 1, "unnoted": -math.inf}, "x.unnoted=-inf: expected a finite number"),
    ],
)
def test_annotations_are_what_is_checked(given: dict[str, Any], message: str) -> None:
    if not message:
        check_arguments(part, given, key="x")
        return
    with pytest.raises(UserError, match=message):
        check_arguments(part, given, key="x")


def test_what_comes_later_may_be_missing_and_an_int_is_a_float() -> None:
    check_arguments(part, {}, key="x", whole=False)
    check_arguments(Collate, {"jitter": 0, "std": [1, 2]}, key="", whole=False)


def test_what_a_library_refuses_is_one_line_too() -> None:
    with pytest.raises(UserError, match="vision.width=192 is not a multiple of vision.heads=5"):
        instantiate(yaml("vision", "vit_tiny") | {"heads": 5})
    with pytest.raises(UserError, match="qformer.width=192 is not a multiple of qformer.heads=5"):
        instantiate(yaml("qformer", "resampler") | {"heads": 5}, memory_width=8, vocab_size=9)
    with pytest.raises(UserError, match="expert.mask: rsmoe.experts.mask.MaskExpert refuses its arguments"):
        instantiate(yaml("expert", "mask") | {"width": 12}, hidden_width=8, pyramid_widths=[8])
    with pytest.raises(UserError, match="trainer: lightning.pytorch.Trainer refuses its arguments"):
        instantiate(yaml("trainer", "cpu") | {"devices": "many"})
    with pytest.raises(UserError, match="lm.config.hidden_size='x': expected a whole number"):
        instantiate(yaml("lm", "tiny") | {"config": {"model_type": "llama", "hidden_size": "x"}}, vocab_size=9)
