"""A checkpoint is data: attempts to make one run, write, fetch or build something are refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import codecs, tiny_config, tiny_model
from transformers import CONFIG_MAPPING

from rsmoe.build import load_run
from rsmoe.checks.trust import check_checkpoint, check_saved_config
from rsmoe.errors import UserError
from rsmoe.evaluation.open_run import open_run
from rsmoe.parts import check_parts, instantiate
from rsmoe.training.run import load_checkpoint
from rsmoe.training.start import start_from

EXPERTS = "expert=[theme,vqa]"


@cache
def whole() -> dict[str, Any]:
    """What `rsmoe.train` leaves, before it is tampered with."""
    codec, words = codecs(EXPERTS)
    model = tiny_model(experts=EXPERTS)
    return {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "global_step": 2,
        "router_trace": [],
        "hyper_parameters": {
            "config": tiny_config(experts=EXPERTS),
            "codec": codec.state(),
            "instruction_codec": words.state(),
            "stage": 0,
            "dense": False,
            "trace": [],
            "change_classes": [],
        },
    }


def copied() -> dict[str, Any]:
    given = whole()
    return {**given, "state_dict": dict(given["state_dict"]), "hyper_parameters": deepcopy(given["hyper_parameters"])}


def at(config: Any, path: str) -> tuple[Any, Any]:
    """The container of a place and its key there, ``"lm.config"``."""
    *steps, last = path.split(".")
    for step in steps:
        config = config.setdefault(step, {}) if isinstance(config, dict) else config[int(step)]
    return config, last


class Canary:
    """A file that no attempt may make, and files that would make it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.folder = folder / "canary", folder

    @property
    def name(self) -> str:
        return str(self.path)

    def pickled(self) -> str:
        """A pickle that makes the canary."""
        (self.folder / "evil.bin").write_bytes(pickle.dumps(Touch(self.name)))
        return str(self.folder / "evil.bin")

    def model(self) -> str:
        """A folder of a language model with code of its own and pickled weights."""
        folder = self.folder / "evil"
        folder.mkdir()
        code = f"import pathlib\npathlib.Path({self.name!r}).touch()\n"
        (folder / "modeling_evil.py").write_text(code + "class Evil: pass\n")
        shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        auto = {"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}
        (folder / "config.json").write_text(
            json.dumps({"model_type": "llama", "auto_map": auto, "architectures": ["Evil"], **shape})
        )
        torch.save(Touch(self.name), folder / "pytorch_model.bin")
        return str(folder)


class Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


Attempt = Callable[[dict[str, Any], Canary], Any]
CALLS: dict[str, Callable[[Canary], dict[str, Any]]] = {
    "write_json": lambda c: {"_target_": "rsmoe.scenes.files.write_json", "path": c.name, "content": {}},
    "write_text": lambda c: {"_target_": "rsmoe.scenes.files.write_text", "path": c.name, "text": "x"},
    "write_shards": lambda c: {"_target_": "rsmoe.commands.shard.shard", "source": {}, "out": c.name},
    "write_adapter": lambda c: {"_target_": "rsmoe.experts.peft_format.write_adapter", "folder": c.name},
    "hparams": lambda c: {
        "_target_": "lightning.pytorch.core.saving.save_hparams_to_yaml", "config_yaml": c.name, "hparams": {"a": 1},
    },
    "lightning_checkpoint": lambda c: {
        "_target_": "lightning.pytorch.LightningModule.load_from_checkpoint", "checkpoint_path": c.pickled(),
        "weights_only": False,
    },
    "lightning_url": lambda c: {
        "_target_": "lightning.pytorch.LightningModule.load_from_checkpoint",
        "checkpoint_path": "http://127.0.0.1:9/x.ckpt", "weights_only": False,
    },
    "stage_module": lambda c: {
        "_target_": "rsmoe.training.module.StageModule.load_from_checkpoint", "checkpoint_path": c.pickled(),
        "weights_only": False,
    },
    "datamodule": lambda c: {
        "_target_": "rsmoe.data.datamodule.RSDataModule.load_from_checkpoint", "checkpoint_path": c.pickled(),
    },
    "torch_load": lambda c: {"_target_": "torch.load", "f": c.pickled(), "weights_only": False},
    "hub": lambda c: {"_target_": "torch.hub.load", "repo_or_dir": str(c.folder), "model": "x", "source": "local"},
    "numpy": lambda c: {"_target_": "numpy.load", "file": c.pickled(), "allow_pickle": True},
    "joblib": lambda c: {"_target_": "joblib.load", "filename": c.pickled()},
    "copyfile": lambda c: {"_target_": "shutil.copyfile", "src": __file__, "dst": c.name},
    "mkdir": lambda c: {"_target_": "os.mkdir", "path": c.name},
    "reexported": lambda c: {"_target_": "rsmoe.parts.os.mkdir", "path": c.name},
    "reexported_module": lambda c: {"_target_": "rsmoe.vision.pretrained_tower.transformers.pipeline", "task": "x"},
    "path": lambda c: {"_target_": "pathlib.Path.touch", "self": c.name},
    "instantiate": lambda c: {"_target_": "rsmoe.parts.instantiate", "node": {"_target_": "os.mkdir", "path": c.name}},
    "locate": lambda c: {"_target_": "rsmoe.parts.locate", "target": "os.mkdir"},
    "cli": lambda c: {"_target_": "rsmoe.train.cli"},
    "predict": lambda c: {"_target_": "rsmoe.load", "path": c.pickled()},
    "trainer": lambda c: {"_target_": "lightning.pytorch.Trainer", "default_root_dir": c.name},
    "logger": lambda c: {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": c.name},
    "optimizer": lambda c: {"_target_": "torch.optim.SGD", "params": []},
    "scenes": lambda c: {"_target_": "rsmoe.scenes.generated.rsicap", "split": "train", "scenes": {"train": 1},
                         "root": c.name},
    "cache": lambda c: {"_target_": "rsmoe.scenes.samples.SceneDataset", "split": "train", "size": 1,
                        "cache": c.name},
    "writer": lambda c: {"_target_": "rsmoe.data.shards.writer.ShardWriter", "folder": c.name},
    "image_cache": lambda c: {"_target_": "rsmoe.data.transforms.image_cache.ImageCache", "size": 8, "max_bytes": 8},
    "io": lambda c: {"_target_": "rsmoe.training.checkpoint_io.WholeFileIO"},
    "tower": lambda c: {"_target_": "rsmoe.vision.pretrained_tower.PretrainedTower", "pretrained": c.model()},
    "codec": lambda c: {"_target_": "rsmoe.data.text_codec.TextCodec.from_pretrained", "name": c.model()},
    "dunder": lambda c: {"_target_": "rsmoe.vision.resnet.ResNet.__init__.__globals__", "name": c.name},
    "spaces": lambda c: {"_target_": " os.mkdir", "path": c.name},
    "no_text": lambda c: {"_target_": 5},
    "list": lambda c: {"_target_": ["os", "mkdir"]},
}  # fmt: skip
PLACES = (
    "temporal",
    "expert.theme",
    "vision.widths",
    "lm.config.rope_parameters",
    "loader.collate.mean",
    "nobody.reads",
)
"""Where each call is put: as a part, inside one, and where nothing reads."""


def call(name: str, place: str, wrap: Callable[[Any], Any] = lambda node: node) -> Attempt:
    def attempt(checkpoint: dict[str, Any], canary: Canary) -> None:
        inside, key = at(checkpoint["hyper_parameters"]["config"], place)
        inside[key] = wrap(CALLS[name](canary))

    return attempt


def put(place: str, value: Any) -> Attempt:
    def attempt(checkpoint: dict[str, Any], canary: Canary) -> None:
        inside, key = at(checkpoint, place)
        inside[key] = value(canary) if callable(value) else value

    return attempt


def config(place: str, value: Any) -> Attempt:
    return put(f"hyper_parameters.config.{place}", value)


def bomb() -> Any:
    node: Any = ["x"] * 10
    for _ in range(12):
        node = [node] * 10
    return node


def cycle() -> Any:
    node: dict[str, Any] = {}
    node["again"] = node
    return node


LLAMA = {"model_type": "llama"}
LM = "rsmoe.experts.language_model.causal_lm"
ATTEMPTS: dict[str, Attempt] = {
    **{f"{name} as {PLACES[i % len(PLACES)]}": call(name, PLACES[i % len(PLACES)]) for i, name in enumerate(CALLS)},
    **{f"{name} as cover": call(name, "cover") for name in ("mkdir", "write_json", "trainer", "scenes", "io", "cache")},
    "tuple": call("torch_load", "temporal.dropout", lambda node: (node,)),
    "tuple in a list": call("copyfile", "expert.theme.tasks", lambda node: [("caption", node)]),
    "tuple at the top": call("mkdir", "x", lambda node: ((node,),)),
    "set": config("vision.widths", {8, 16}),
    "ordered": config("vision", lambda c: OrderedDict(CALLS["mkdir"](c))),
    "tensor": config("image_size", torch.tensor(32)),
    "bytes": config("name", b"x"),
    "args": config("temporal._args_", lambda c: [CALLS["mkdir"](c)]),
    "partial": config("temporal._partial_", True),
    "recursive": config("temporal._recursive_", False),
    "mode": config("temporal._mode_", "call"),
    "corpus args": config("corpus.captions.reader._args_", ["x"]),
    "corpus target": config("corpus.captions.reader._target_", "os.mkdir"),
    "trainer target": config("trainer._target_", "shutil.copyfile"),
    "trainer callback": config("trainer.callbacks", lambda c: [CALLS["mkdir"](c)]),
    "logger function": config("logger._target_", "lightning.pytorch.core.saving.save_hparams_to_yaml"),
    "metric": config("evaluation.metrics.mine", lambda c: CALLS["mkdir"](c)),
    "oc.create": config("temporal", lambda c: f"${{oc.create:{{_target_: os.mkdir, path: {c.name}}}}}"),
    "oc.create in a part": config("skip", lambda c: f"${{oc.create:{{_target_: os.mkdir, path: {c.name}}}}}"),
    "oc.env": config("expert.theme.template", "${oc.env:HOME}"),
    "hydra resolver": config("name", "${hydra:runtime.cwd}"),
    "interpolation in a key": config("${oc.env:HOME}", 1),
    "remote code": config("lm.config.trust_remote_code", True),
    "auto_map": config("lm.config.auto_map", {"AutoModelForCausalLM": "modeling_evil.Evil"}),
    "auto_map inside": config("lm.config.text_config", {"auto_map": {"AutoConfig": "modeling_evil.Evil"}}),
    "name or path": config("lm.config._name_or_path", lambda c: c.model()),
    "kernels of the hub": config("lm.attention", "kernels-community/flash-attn"),
    "kernels in the config": config("lm.config.attn_implementation", "kernels-community/flash-attn"),
    "torchscript": config("lm.config.torchscript", "x.pt"),
    "backbone": config("lm.config.backbone", "timm/resnet18"),
    "target in a config": config("lm.config._target_", "os.mkdir"),
    "url of a base": config("lm.pretrained", "http://127.0.0.1:9/model"),
    "file url of a base": config("lm.pretrained", "file:///tmp/model"),
    "url of the words": config("qformer.bert", "https://127.0.0.1:9/bert"),
    "pickled base": config("lm", lambda c: {"_target_": LM, "pretrained": c.model(), "config": None}),
    "pickled tower": config("vision", lambda c: CALLS["tower"](c)),
    "blocks of what was built": put("hyper_parameters.built", {"lm": LLAMA | {"num_hidden_layers": 10**9}}),
    "code of what was built": put("hyper_parameters.built", {"lm": LLAMA | {"auto_map": {"AutoModel": "x.X"}}}),
    "layers without end": config("lm.config.num_hidden_layers", 10**9),
    "blocks without end": config("vision.depths", [10**9, 1]),
    "pictures without end": config("image_size", 10**9),
    "number of many digits": config("qformer.queries", 10**5000),
    "not a number": config("bank.alpha", float("nan")),
    "alias bomb": config("nobody", bomb()),
    "cycle": config("nobody", cycle()),
    "part of another kind": config("vision", {"_target_": "rsmoe.experts.bank.ExpertBank", "rank": 1, "alpha": 1}),
    "model of another kind": config("prompts.lm", {"_target_": "rsmoe.vision.resnet.ResNet"}),
    "codec of a file": put("hyper_parameters.codec.roles.tokenizer_file", lambda c: c.pickled()),
    "codec that is none": put("hyper_parameters.codec.tokenizer", "not json"),
    "codec of another model": put("hyper_parameters.codec.tokenizer", '{"version": "1.0", "model": {"type": "X"}}'),
    "codec nested deep": put("hyper_parameters.instruction_codec.tokenizer", "[" * 100_000),
    "codec as a list": put("hyper_parameters.codec", [1]),
    "codec without roles": put("hyper_parameters.codec.roles", None),
    "special of another type": put("hyper_parameters.codec.special", "[SEG]"),
    "config as text": put("hyper_parameters.config", "x"),
    "no experts": config("expert", {}),
    "expert as a list": config("expert", [1]),
    "no vision": config("vision", None),
    "stage": put("hyper_parameters.stage", "0"),
    "dense": put("hyper_parameters.dense", 1),
    "trace": put("hyper_parameters.trace", {"a": 1}),
    "classes": put("hyper_parameters.change_classes", [1]),
    "step": put("global_step", -1),
    "step as text": put("global_step", "2"),
    "weights as a list": put("state_dict", []),
    "weight as a number": put("state_dict", {"model.x": 1.0}),
    "weight from nothing": put("state_dict", {"model.x": torch.zeros(1).expand(10**12)}),
    "weight that is sparse": put("state_dict", {"model.x": torch.eye(3).to_sparse()}),
    "parameters as a list": put("hyper_parameters", [1]),
    **{f"word {word[:24]}": put("hyper_parameters.words", [word]) for word in (
        "--experimental-rerun=/tmp/x.pickle", "--config-dir=/tmp", "-m", "-cd=/tmp", "hydra.run.dir=/tmp",
        " hydra.verbose=1", "+hydra/launcher=x", "/hydra.run.dir=/tmp", "+model@hydra.run=tiny",
        "+trainer.callbacks=[{_target_: os.mkdir}]", "name=${oc.env:HOME}", "", "=", "no word",
    )},
    "optimiser as text": put("optimizer_states", "x"),
    "loops as a list": put("loops", [1]),
    "version as a list": put("pytorch-lightning_version", [1]),
    "base behind an address": put("bases", [{"part": "bank", "name": "http://127.0.0.1:9/x"}]),
}  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=list(ATTEMPTS))
def test_what_a_checkpoint_names_is_never_run(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went to the network"))
    checkpoint, canary = copied(), Canary(tmp_path)
    attempt(checkpoint, canary)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(UserError) as error:
        load_run(load_checkpoint(tmp_path / "x.ckpt"))
    assert "RSMOE_TRUST=" not in str(error.value) or "joblib" in str(error.value) or "numpy" in str(error.value)
    if "is not a readable checkpoint" not in str(error.value):  # what torch says of it is long
        assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert not canary.path.exists()
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("value", [[1, 2], "text", None, torch.zeros(2), {}, {"hyper_parameters": {}}])
def test_a_file_that_holds_something_else(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="not written by rsmoe.train"):
        open_run(tmp_path / "x.ckpt")


@pytest.mark.parametrize("edge", [float("nan"), float("inf")])
def test_weights_that_diverged_are_refused(edge: float) -> None:
    checkpoint = copied()
    name = next(n for n, v in checkpoint["state_dict"].items() if v.is_floating_point())
    checkpoint["state_dict"][name] = torch.full_like(checkpoint["state_dict"][name], edge)
    with pytest.raises(UserError, match=f"not finite, first: {name}"):
        load_run(checkpoint)


def test_what_was_not_tampered_with_opens(tmp_path: Path) -> None:
    torch.save(whole(), tmp_path / "x.ckpt")
    run = open_run(tmp_path / "x.ckpt")
    own = tiny_model(experts=EXPERTS).state_dict()
    assert all(torch.equal(value, own[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize(
    "kind",
    "llama qwen3 gpt2 opt mistral phi3 gemma3_text mamba2 clip_vision_model dinov2 instructblip_vision_model".split(),
)
def test_what_transformers_writes_of_a_model_passes(kind: str) -> None:
    checkpoint, left_out = copied(), ("_name_or_path", "dtype", "transformers_version")
    whole = json.loads(CONFIG_MAPPING[kind]().to_json_string(use_diff=False))
    checkpoint["hyper_parameters"]["built"] = {"lm": {k: v for k, v in whole.items() if k not in left_out}}
    check_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["mkdir", "write_json", "trainer"])
def test_a_new_run_does_not_start_from_it_either(name: str, tmp_path: Path) -> None:
    checkpoint, canary = copied(), Canary(tmp_path)
    call(name, "nobody")(checkpoint, canary)
    codec, words = codecs(EXPERTS)
    with pytest.raises(UserError, match="config.*nobody._target_"):
        start_from(tiny_model(experts=EXPERTS), checkpoint, codec=codec, instruction_codec=words)
    assert not canary.path.exists()


def test_a_part_of_your_own_is_admitted_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from rsmoe.temporal.subtract import Subtract\nclass Mine(Subtract):\n    '''Own.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    checkpoint = copied()
    checkpoint["hyper_parameters"]["config"]["temporal"] = {"_target_": "mine.Mine"}
    for trust in ("", "mine", "mine.Other", "min"):
        monkeypatch.setenv("RSMOE_TRUST", trust)
        with pytest.raises(UserError, match="temporal._target_='mine.Mine' is not trusted.*RSMOE_TRUST=mine.Mine$"):
            check_saved_config(checkpoint["hyper_parameters"]["config"])
    monkeypatch.setenv("RSMOE_TRUST", "mine.Mine")
    check_saved_config(checkpoint["hyper_parameters"]["config"])
    monkeypatch.setenv("RSMOE_TRUST", "mine")
    assert type(instantiate({"_target_": "mine.Mine"}, width=4)).__name__ == "Mine"  # typed by the user, not in a file


def test_all_parts_of_your_own_are_named_at_once() -> None:
    config = copied()["hyper_parameters"]["config"]
    config["temporal"], config["expert"]["theme"] = {"_target_": "mine.Mine"}, {"_target_": "mine.Theme"}
    with pytest.raises(UserError, match="export RSMOE_TRUST=mine.Mine,mine.Theme$"):
        check_saved_config(config)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_what_a_user_types_is_a_part_too(name: str, tmp_path: Path) -> None:
    canary = Canary(tmp_path)
    node = CALLS[name](canary)
    for config in ({"router": node}, {"expert": {"theme": node}}) if name != "tower" else ():
        with pytest.raises(UserError):
            check_parts(config)
    if name not in ("trainer", "logger", "scenes", "cache", "io", "tower", "image_cache"):  # parts, of another kind
        with pytest.raises(UserError):
            instantiate(node)
    assert not canary.path.exists()


def test_a_plain_mapping_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "told")
    node = {"_target_": "rsmoe.experts.expert.Expert", "name": "${oc.env:SECRET}", "tasks": []}
    assert instantiate(node, hidden_width=4, pyramid_widths=[4]).name == "${oc.env:SECRET}"


def test_nothing_in_a_tuple_is_built(tmp_path: Path) -> None:
    node = {"_target_": "os.mkdir", "path": str(tmp_path / "x")}
    for widths in ((node,), [8, (node,)]):
        with pytest.raises(UserError):
            instantiate({"_target_": "rsmoe.vision.resnet.ResNet", "widths": widths})
    assert not os.listdir(tmp_path)
