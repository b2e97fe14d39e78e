"""Every yaml composes and builds, every experiment runs, the published sizes are right, and mistakes list names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from support.composed import Words, plain, run, short
from support.models import TINY, batch_of, codecs, tiny_config

from rsmoe.build import build_model
from rsmoe.config import compose, conf_dir
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate, locate
from rsmoe.router.clusters import ClusterRouter
from rsmoe.settings.stage import stages_of
from rsmoe.training.freeze import set_trainable

CONF = conf_dir()
OTHERS = ("data", "experiment", "benchmark", "metric", "task", "recipe", "image_head", "text_tower", "pair_loss")
GROUPS = {
    str(folder.relative_to(CONF)): sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(p for p in CONF.iterdir() if p.is_dir() and p.name not in OTHERS)
}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from [node["_target_"]] if "_target_" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets(value)


# the n-th choice of every group in one config: each yaml is composed at least once
TOGETHER = [
    [f"{g}=[{n[i % len(n)]}]" if g == "expert" else f"{g}={n[i % len(n)]}" for g, n in GROUPS.items() if g != "model"]
    for i in range(max(map(len, GROUPS.values())))
]
METRICS = ",".join(sorted(path.stem for path in (CONF / "metric").glob("*.yaml")))
ALONE = [[f"+metric=[{METRICS}]"]] + [[f"model={name}"] for name in GROUPS["model"]]
ALONE += [[f"experiment={name}"] for name in EXPERIMENTS]


@pytest.mark.parametrize("choices", [*TOGETHER, *ALONE], ids=lambda c: ",".join(c[:3]))
def test_every_choice_composes(choices: list[str]) -> None:
    config = plain(compose(choices))
    taught = [stage for stage in stages_of(config) if stage.name != "perception" or config["maps"]]
    assert taught and all(stage.steps for stage in taught)
    assert list(targets(config))


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: str(p.relative_to(CONF)))
def test_every_target_is_there_and_every_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    for target in targets(yaml.safe_load(text)):
        assert callable(locate(target))


@pytest.mark.parametrize("path", sorted((CONF / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_data_set_takes_what_its_yaml_gives(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder is refused with its name; a key that the reader does not know would be another error."""
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    node = yaml.safe_load(path.read_text()) | {"split": "train"}
    if "root" not in node:
        rows = node["size"] if "size" in node else node["scenes"]["train"] * node["requests"]
        assert len(instantiate(node)) == rows
        return
    with pytest.raises(UserError, match=rf"(?s){node['name'] if 'rsivqa' not in node['name'] else 'rsivqa'}"):
        instantiate(node)


# what a model is put together from; towers and the Q-Former by name are built on the meta device below
PARTS = [
    (group, name)
    for group in (
        "bank",
        "bypass",
        "regions",
        "fusion",
        "moe",
        "prompts",
        "qformer",
        "router",
        "choice",
        "balance",
        "temporal",
        "lm",
        "vision",
    )
    for name in GROUPS[group]
    if "pretrained" not in (CONF / group / f"{name}.yaml").read_text()
    and name not in ("instruct_bert_base", "instruct_small", "small", "resnet_50", "passthrough")
]
SMALLER = {
    "lm": {"config": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}},
    "vit_tiny": {"image_size": 32, "patch": 8, "depth": 2},
}


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_every_part_learns_and_answers(group: str, name: str) -> None:
    experts = "expert=[theme,object,vqa,change,mask,retrieval" + (",rewriter]" if name == "rewrite" else "]")
    if name in ("separate", "none"):
        experts = "expert=[theme,vqa,change]"
    words = ("moe=token", "router=uniform") if (group, name) == ("moe", "token") else ()
    config = tiny_config(*words, experts=experts)
    config["vision"] = plain(OmegaConf.load(CONF / "vision" / "convnext_tiny.yaml")) | {
        "widths": [8, 16],
        "depths": [1, 1],
    }
    if name == "none":
        config |= {"moe": {"adapters": 1}, "router": plain(OmegaConf.load(CONF / "router" / "uniform.yaml"))}
    elif not words:
        node = OmegaConf.load(CONF / group / f"{name}.yaml")
        config[group] = plain(OmegaConf.merge(node, SMALLER.get(name, SMALLER.get(group, {}))))
    torch.manual_seed(0)
    model = build_model(config, *codecs(experts))
    if isinstance(model.router, ClusterRouter):
        model.router.fit(batch_of().instruction_ids, batch_of().instruction_mask)
    batch = batch_of() if "mask" in experts else batch_of("caption", "vqa", "change_caption")
    perception = model.perceive(batch, also=None if model.dense else model.serves_task[batch.task])
    reading = model.read(batch, perception)
    losses = dict(model.fusion.losses(model, batch, reading, smoothing=0.1))
    if reading.prompt_loss is not None:
        losses["prompt"] = reading.prompt_loss
    sum(losses.values()).backward()
    assert all(bool(torch.isfinite(v)) for v in losses.values())
    for name_, p in model.named_parameters():
        assert p.grad is None or bool(torch.isfinite(p.grad).all()), name_
    learns = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert {"vision", "qformer", "to_lm", "bank"} <= learns
    end = codecs(experts)[0].eos_id
    assert end is not None
    with torch.no_grad():
        perception = model.eval().perceive(batch)
    written = model.generate(batch, perception, end_id=end, beams=2, max_new=3)
    assert len(written) == len(batch)
    torch.testing.assert_close(perception.routing.weights.sum(1), torch.ones(len(batch)))


"""Corpora by config: a mixture and its dense twin read the same."""


OF_PUBLISHED_WEIGHTS = ("rs_capret", "rsicap_pretrained")
"""Experiments whose language model a hub has: they run on small stand-ins in tests/training."""


def needs_data(config: Mapping[str, Any]) -> bool:
    return not all("generated" in e or "root" not in e["reader"] for e in config["corpus"].values())


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if e not in OF_PUBLISHED_WEIGHTS])
def test_every_experiment_runs(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On generated scenes where it can; the others read $RSMOE_DATA. In smaller pictures than most say."""
    words = [f"experiment={experiment}", "image_size=64"]
    with monkeypatch.context() as without:
        without.delenv("RSMOE_DATA", raising=False)
        config = plain(compose(words))
        if not needs_data(config):
            results = run(short(config), tmp_path, without)
            assert all(row["protocol"].startswith("generated/") for row in results)
            return
    if not Path(os.environ.get("RSMOE_DATA") or "none").is_dir():
        pytest.skip("needs real data: RSMOE_DATA names no folder")
    results = run(short(plain(compose(words))), tmp_path, monkeypatch)
    mixed = experiment == "starter"  # with generated scenes
    assert any(row["protocol"].startswith("generated/") for row in results) is mixed


@pytest.mark.slow
@pytest.mark.parametrize(
    "ablation",
    [
        ["schedule=single_stage"],
        ["schedule=rsmoe_two_stage", "fusion=rewrite", "expert=[theme,object,relation,vqa,rewriter]"],
        ["schedule=rsmoe_two_stage", "bank=token", "fusion=weights"],
        ["schedule=rsmoe_two_stage", "fusion=weights", "prompts=text", "bypass=none"],
        ["schedule=rsmoe_two_stage", "prompts=template", "choice=top_k", "bank=separate"],
    ],
    ids=["single_stage", "rewrite", "token", "text", "template"],
)
def test_every_ablation_runs(ablation: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    small = [t for t in TINY if not t.startswith(("vision", "image_size"))] + ["image_size=64"]
    config = plain(compose(["experiment=rsicap_moe", *ablation, *small]))
    config["vision"] = tiny_config()["vision"]
    results = run(short(config, scenes=3), tmp_path, monkeypatch)
    assert all(row["protocol"].startswith("generated/") for row in results)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["schedule=deltavlm", "corpus=changechat", "expert=[change_caption,change_question]"],
        ["schedule=geopix_two_stage", "corpus=scenes", "expert=[theme,vqa,change,mask]"],
        ["schedule=skyeye_two_stage", "corpus=skyeye", "expert=[change_caption,change_question]"],
    ],
    ids=lambda words: words[0],
)
def test_every_published_schedule_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    config = plain(compose([*words, *(t for t in TINY if not t.startswith("vision"))]))
    config["vision"] = tiny_config()["vision"]
    assert run(short(config, scenes=3), tmp_path, monkeypatch)


EVA = 985_952_256
"""patches 14*14*3*1408+1408, positions 257*1408, class 1408, 39 blocks of 25,264,640, last norm 2816; see below."""
QFORMER = 185_660_160
"""InstructBLIP's with 30,523 words; its 32 queries of 768 come on top."""
ADDED = 2
"""[SEG] and [RET]."""
# model: (language model, its tokens, width, feed-forward, layers, width of keys and values, tables of words)
SIZES = {
    "rsmoe_1b": (1_235_814_400, 128_256, 2048, 8192, 16, 512, 1),
    "rsmoe_3b": (3_212_749_824, 128_256, 3072, 8192, 28, 1024, 1),
    "rsmoe_7b": (6_738_415_616, 32_000, 4096, 11_008, 32, 4096, 2),
}


def test_eva_is_counted_by_hand() -> None:
    d, hidden = 1408, 6144
    block = 4 * d + (3 * d * d + 3 * d) + (d * d + d) + (2 * d * hidden + hidden + d)
    assert (14 * 14 * 3 * d + d) + 257 * d + d + 39 * block + 2 * d == EVA


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_published_sizes(name: str) -> None:
    lm, tokens, width, hidden, layers, kv, tables = SIZES[name]
    config = plain(compose([f"model={name}", "schedule=rsmoe_two_stage"]))
    with torch.device("meta"):
        model = build_model(config, Words(tokens + ADDED), Words(30_523))  # type: ignore[arg-type]
    assert all(p.is_meta for p in model.parameters())

    def size(*names: str, module: RSMoE = model) -> int:
        return sum(p.numel() for n, p in module.named_parameters() if n.startswith(names))

    experts, rank = len(config["expert"]), config["bank"]["rank"]
    assert config["bank"]["targets"] == ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]
    sides = (2 * width) + (width + kv) + 2 * (width + hidden) + (hidden + width)
    adapters = experts * layers * rank * sides
    soft = 4
    prompts = experts * soft * width + (width * soft * width + soft * width)
    h = config["router"]["hidden"]
    router = 30_523 * h + 2 * (h + 768) + ((h + 768) * h + h) + (h * experts + experts)
    parts = {
        "vision.": EVA,
        "qformer.": QFORMER + 32 * 768,
        "temporal.": 13_881_472,  # DeltaVLM's, released code
        "to_lm.": 768 * width + width,
        "bank.": lm + tables * ADDED * width + adapters,
        "prompts.": prompts,
        "router.": router,
    }
    assert {part: size(part) for part in parts} == parts
    assert size("") == sum(parts.values())

    second = stages_of(config)[1]
    bare = {n for n, part in model.named_children() if not any(True for _ in part.parameters())}
    trained = set_trainable(model, [p for p in second.train if p.split(".")[0] not in bare])
    numbers = dict(model.named_parameters())
    assert sum(numbers[n].numel() for n in trained) == adapters + prompts + router
    assert sum(numbers[n].numel() for n in trained) < 0.08 * size("")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=rsicap_mo"], "unknown experiment 'rsicap_mo'. Did you mean 'rsicap_moe'?"),
        (["expert=[theme,vqaa]"], "unknown expert 'vqaa'. Did you mean 'vqa'?"),
        (["vision=restnet_tiny"], "unknown vision 'restnet_tiny'. Did you mean 'resnet_tiny'?"),
        (["stag.dense.steps=3"], "unknown key 'stag'. Did you mean 'stage'?"),
        (["stage.dense.stepz=3"], "under 'stage.dense' 'stepz'. Did you mean 'steps'?"),
        (["stage.dense.lr_end=0.1"], "To add one that is not listed: +stage.dense.lr_end=0.1"),
        (["stage.dens.steps=3"], "under 'stage' 'dens'. Did you mean 'dense'? Known: dense, experts."),
        (["stage=[dens]"], "unknown stage 'dens'. Did you mean 'dense'?"),
        (["experiment=rsicap_moe", "stage=[dense]", "stage.experts.steps=3"], "stage=[experts,dense]"),
        (["+stage.mine.steps=3"], "unknown stage 'mine'"),
        (["expert.mask.width=8"], "under 'expert' 'mask'. Known: object, relation, theme, vqa."),
        (["seed.x=8"], "under 'seed' 'x'"),
        (["seed=[1"], "does not compose"),
    ],
)  # fmt: skip
def test_mistypes_list_the_names_that_exist(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert message in str(error.value)
    if message.startswith("unknown experiment"):
        assert all(name in str(error.value) for name in EXPERIMENTS)


def test_a_folder_of_your_own_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "mine.yaml").write_text("_target_: mine.Tower\n")
    assert compose(["vision=mine"], extra=str(tmp_path)).vision._target_ == "mine.Tower"
    with pytest.raises(UserError, match="unknown vision 'mien'. Did you mean 'mine'.*resnet_tiny"):
        compose(["vision=mien"], extra=str(tmp_path))
    with pytest.raises(UserError, match="unknown vision 'mine'"):
        compose(["vision=mine"])


@pytest.mark.parametrize(
    "target",
    ["os.mkdir", "rsmoe.parts.os.mkdir", "rsmoe.config.hydra.utils.call", "rsmoex.mkdir", "rsmoe.parts.TRUSTED"],
)  # fmt: skip
def test_targets_that_are_not_trusted_never_run(target: str, tmp_path: Path) -> None:
    node = {"_target_": "rsmoe.temporal.concat.Concat", "width": {"_target_": target, "_args_": [str(tmp_path / "x")]}}
    with pytest.raises(UserError, match="is not trusted"):
        instantiate(node)
    assert not (tmp_path / "x").exists()


def test_trust_is_given_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": "fractions.Fraction", "_args_": [1, 2]}
    with pytest.raises(UserError, match="export RSMOE_TRUST=fractions"):
        instantiate(node)
    monkeypatch.setenv("RSMOE_TRUST", "other, fractions")
    assert instantiate(node) == 0.5


@pytest.mark.parametrize("vision", ["resnet_tiny", "clip_vit_l14"])
def test_bands_are_said_once_for_pictures_and_encoder(vision: str) -> None:
    with pytest.raises(UserError, match=r"unknown key under 'vision' 'bands'"):
        compose(["experiment=rsicap_moe", f"vision={vision}", "vision.bands=4"])


def test_what_constructors_say_reaches_the_user() -> None:
    with pytest.raises(UserError, match="vision.block='x'"):
        instantiate({"_target_": "rsmoe.vision.resnet.ResNet", "block": "x"})
    with pytest.raises(UserError, match=r"unknown key of vision .ResNet does not take it. 'foo'. Known: bands"):
        instantiate({"_target_": "rsmoe.vision.resnet.ResNet", "foo": 1})
    with pytest.raises(UserError, match="'rsmoe.vision.rasnet.ResNet' cannot be imported"):
        instantiate({"_target_": "rsmoe.vision.rasnet.ResNet"})
    with pytest.raises(UserError, match="expected a mapping with _target_"):
        instantiate({"width": 3})


def test_the_twin_of_a_mixture_has_one_adapter() -> None:
    config = plain(compose(["experiment=unified_moe", "moe=none"]))
    twin = plain(compose(["experiment=unified_moe"]))
    assert config["moe"]["adapters"] == 1 and twin["moe"]["adapters"] is None
    for key in ("stage", "corpus", "expert", "vision", "qformer", "lm", "bank", "evaluation", "loader"):
        assert config[key] == twin[key]
