"""Config -> model: each width comes from the module that was built before, not from the config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch

from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.maps.noun_grounding import NounGrounding
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate, locate
from rsmoe.router import Router
from rsmoe.trust.checkpoint import check_checkpoint, check_finite
from rsmoe.weights.bases import LeftOut
from rsmoe.weights.pretrained import parent_of, without_weights
from rsmoe.weights.vocabularies import check_vocabularies


def fit_codecs(config: Mapping[str, Any], corpus: Iterable[str]) -> tuple[TextCodec, TextCodec]:
    """Tokenizers of the language model and of the Q-Former: pretrained by name, or fitted on the training text.

    That of the language model has the special tokens of the experts' heads, and [SEG] and [RET] always.
    """
    check_vocabularies(config)
    lm, instruction = config["text"]["lm"], config["text"]["instruction"]
    special = sorted({"[SEG]", "[RET]", *_head_tokens(config)})
    fitted = None if lm and instruction else TextCodec.fit(corpus, special=special)
    codec = TextCodec.from_pretrained(lm, special=special) if lm else fitted
    words = TextCodec.from_pretrained(instruction) if instruction else fitted
    assert codec is not None and words is not None
    return codec, words


def _head_tokens(config: Mapping[str, Any]) -> set[str]:
    """Special tokens whose states the heads of the experts read."""
    return {token for e in config["expert"].values() if (token := getattr(locate(e["_target_"]), "token", None))}


def codecs_of(checkpoint: Mapping[str, Any]) -> tuple[TextCodec, TextCodec]:
    """The tokenizers that a checkpoint holds: of the language model, and of the Q-Former.

    Raises:
        UserError: it was not written by `rsmoe.train`.
    """
    check_checkpoint(checkpoint)
    hparams = checkpoint["hyper_parameters"]
    return TextCodec.from_state(hparams["codec"]), TextCodec.from_state(hparams["instruction_codec"])


def build_model(config: Mapping[str, Any], codec: TextCodec, instruction_codec: TextCodec) -> RSMoE:
    """The model of a resolved config (plain containers), with new weights but for those of pretrained parts.

    Args:
        config: with the groups vision, temporal, maps, qformer, bypass, regions, router, choice, balance, prompts, lm,
            expert, moe, fusion.
        codec: tokenizer of the language model.
        instruction_codec: tokenizer of what the Q-Former and the router read.
    """
    if not config.get("expert"):
        raise UserError("no expert is selected; add for example expert=[theme,vqa]")
    vision = instantiate(config["vision"], bands=config["bands"])
    temporal = instantiate(config["temporal"], width=vision.width)
    instruction_vocab = instruction_codec.vocab_size
    qformer = instantiate(config["qformer"], memory_width=vision.width, vocab_size=instruction_vocab)
    moe = dict(config["moe"])
    size = moe.pop("adapters") or len(config["expert"])
    lm = instantiate(config["lm"], vocab_size=codec.vocab_size)
    pretrained = bool(config["text"]["lm"])
    new_words = sorted(codec.token_id(token) for token in _head_tokens(config)) if pretrained else []
    bank = instantiate(config["bank"], lm=lm, experts=size, new_words=new_words)
    head_sizes = {"hidden_width": bank.width, "pyramid_widths": vision.pyramid_widths}
    experts = [instantiate(e, **head_sizes) for e in config["expert"].values()]
    # a template that says no more than the user's instruction adds no words
    templates = [codec.encode(e.template.replace("{instruction}", "").strip()) for e in experts][:size]
    prompts = dict(config["prompts"])
    prompt_lm = {"lm": instantiate(prompts.pop("lm"), vocab_size=codec.vocab_size)} if "lm" in prompts else {}
    map_sizes = {"pyramid_widths": vision.pyramid_widths, "width": vision.width, "bands": config["bands"]}
    maps = {name: instantiate(node, **map_sizes) for name, node in config["maps"].items() if node.get("_target_")}
    nouns = None
    if config["noun_grounding"]:
        if "land_cover" not in maps:
            raise UserError(
                "noun_grounding=true reads a map of land cover: add maps=[land_cover], or noun_grounding=false"
            )
        names = maps["land_cover"].names
        nouns = NounGrounding(names=names, codec=codec, memory_width=vision.width, width=bank.width)
    bypass_sizes = {"memory_width": vision.width, "width": bank.width, "pyramid_widths": vision.pyramid_widths}
    return RSMoE(
        vision=vision.to(memory_format=torch.channels_last),  # a quarter faster convolutions on CPU
        temporal=temporal,
        maps=maps,
        qformer=qformer,
        router=build_router(
            config, width=qformer.width, memory_width=vision.width, vocab_size=instruction_vocab, experts=size
        ),
        prompts=instantiate(prompts, width=bank.width, vocab_size=codec.vocab_size, templates=templates, **prompt_lm),
        bank=bank,
        fusion=instantiate(config["fusion"], codec=codec, names=[e.name for e in experts], bank=bank),
        experts=experts,
        bypass=instantiate(config["bypass"], **bypass_sizes) if config["bypass"] else None,
        regions=instantiate(config["regions"], **bypass_sizes) if config.get("regions") else None,
        nouns=nouns,
        bos_id=codec.bos_id if pretrained else None,
        special={e.token: codec.token_id(e.token) for e in experts if e.token},
    )


def build_router(config: Mapping[str, Any], **sizes: int) -> Router:
    """The router of a config, with its choice and its balance.

    Args:
        config: with the groups router, choice, balance.
        sizes: of the router contract.
    """
    choice = instantiate({**config["choice"], "_partial_": True})
    balance = instantiate(config["balance"], experts=sizes["experts"])
    router: Router = instantiate(config["router"], choice=choice, balance=balance, **sizes)
    return router


def built_configs(model: RSMoE) -> dict[str, dict[str, Any]]:
    """Config group ("vision", "lm", "prompts") -> the transformers config of the model that was built for it.

    Checkpoints keep these, because a yaml is not enough to build the same model again: a loaded model may differ from
    it in numbers that no tensor shape shows (heads, dropout), and transformers may change its defaults.
    """
    from transformers import PreTrainedModel  # here: a training can wait for it, a question cannot

    tower = getattr(model.vision, "tower", None)
    parts = {"vision": tower, "lm": model.bank.base, "prompts": getattr(model.prompts, "lm", None)}
    built = {}
    for group, part in parts.items():
        if isinstance(part, PreTrainedModel):
            whole = json.loads(part.config.to_json_string(use_diff=False))
            built[group] = {key: value for key, value in whole.items() if key not in _OF_A_FILE}
    return built


_OF_A_FILE = ("_name_or_path", "architectures", "auto_map", "dtype", "transformers_version")
"""Keys of a config that describe the file it came from."""


def load_run(checkpoint: Mapping[str, Any]) -> tuple[RSMoE, TextCodec, TextCodec]:
    """Model and tokenizers of a checkpoint that `rsmoe.train` wrote: weights loaded, eval mode, nothing trainable.

    Frozen pretrained weights that the file leaves out are loaded from their own folder, and must be the same as then.

    Raises:
        UserError: that folder is missing or holds other weights; the checkpoint was not written by `rsmoe.train`.
    """
    codec, instruction_codec = codecs_of(checkpoint)
    with without_weights():
        model = build_model(_rebuilt(checkpoint), codec, instruction_codec)
    check_finite(checkpoint["state_dict"])
    load_weights(model, checkpoint, assign=True)
    model.dense = bool(checkpoint["hyper_parameters"].get("dense", False))
    return model.eval().requires_grad_(False), codec, instruction_codec


def _rebuilt(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a run's config that builds the same model and loads no weights but those missing in the checkpoint."""
    hparams = checkpoint["hyper_parameters"]
    config, built = deepcopy(hparams["config"]), hparams.get("built", {})
    bases = {base.part.split(".")[0]: base for base in LeftOut.from_checkpoint(checkpoint)}
    nodes = {"vision": config["vision"], "lm": config["lm"], "prompts": config["prompts"].get("lm") or {}}
    for group, node in nodes.items():
        base = bases.get("bank" if group == "lm" else group)
        if base is not None:
            node |= {"pretrained": base.source} | ({"config": None} if "config" in node else {})
        elif group in built and node.get("_target_") in (_TOWER, _LM):
            node |= {"pretrained": None, "config": built[group]}
        elif node.get("_target_") == _LITE or node.get("pretrained") and node.get("config"):  # the file holds them
            node["pretrained"] = None
    for key in ("bert", "instructblip"):
        if config["qformer"].get(key):
            config["qformer"][key] = bases["qformer"].source if "qformer" in bases else None
    return config


_LITE = "rsmoe.vision.efficientnet_lite.EfficientNetLite"
_TOWER, _LM = "rsmoe.vision.pretrained_tower.PretrainedTower", "rsmoe.experts.language_model.causal_lm"


def require_fit(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """Refuses the weights of another model by their names, shapes and kinds of dtype; no value is read.

    Args:
        own: state dict of the model, which may be on the meta device.
        state: state dict of the checkpoint.

    Raises:
        UserError: what differs, with the first names.
    """
    shapes = [
        f"{k} {tuple(v.shape)} here {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    kinds = [f"{k} {v.dtype}" for k, v in state.items() if k in own and _kind(v) != _kind(own[k])]
    absent, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if shapes or kinds or absent or extra:
        raise UserError(
            "the checkpoint is of another model: "
            + "; ".join(
                f"{len(names)} {what}, first: {', '.join(names[:3])}"
                for what, names in (
                    ("shapes differ", shapes),
                    ("numbers of another kind", kinds),
                    ("missing", absent),
                    ("unknown", extra),
                )
                if names
            )
            + ". Use the same model=, expert=, vision=, qformer=, lm= words as in its config.yaml; one that an older "
            "rsmoe wrote can begin a new run: start=<it>"
        )


def load_weights(model: RSMoE, checkpoint: Mapping[str, Any], *, assign: bool = False) -> None:
    """Loads the weights of a checkpoint into a model; those of another model are refused, see `require_fit`.

    Args:
        model: its pretrained parts that the checkpoint leaves out are loaded already.
        checkpoint: see `rsmoe.training.checkpoints.load_checkpoint`.
        assign: use the checkpoint's tensors without copying, for a model that was built `without_weights`.
    """
    own = model.state_dict()
    state = whole_state(checkpoint, model, own)
    require_fit(own, state)
    same = {name for name, value in state.items() if value is own[name]}  # not in the file: they keep their dtype
    given = {name: value.to(own[name].dtype) for name, value in state.items() if name not in same}
    if not assign:
        model.load_state_dict(given, strict=False)
        return
    tied: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), []).append(name)
    model.load_state_dict(given, strict=False, assign=True)
    for first, *others in tied.values():
        for name in others:
            parent, leaf = parent_of(model, name)
            setattr(parent, leaf, model.get_parameter(first))
    model.get_submodule("vision").to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the model was built


def _kind(value: torch.Tensor) -> tuple[bool, bool]:
    """(is floating point, is complex); the number of bits may differ."""
    return value.is_floating_point(), value.is_complex()


def whole_state(
    checkpoint: Mapping[str, Any], model: RSMoE, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint by their names in the model, the frozen pretrained ones that it leaves out included.

    Args:
        model: its pretrained parts are as they were loaded.
        own: state dict of ``model``.

    Raises:
        UserError: the pretrained parts of ``model`` were loaded from other weights.
    """
    # older checkpoints hold the head of a loss that is gone
    saved = checkpoint["state_dict"]
    state = {name.removeprefix("model."): v for name, v in saved.items() if not name.startswith("word_head.")}
    for base in LeftOut.from_checkpoint(checkpoint):
        base.check(model)
        for name, (rows, dtype) in base.tensors.items():
            if name not in own:
                continue  # `load_weights` says what differs
            value = own[name]
            if dtype != str(value.dtype):  # bf16-true trains on rounded weights
                value = value.to(getattr(torch, dtype.removeprefix("torch."))).to(value.dtype)
            new = state.get(name)
            state[name] = value if new is None else torch.cat([value[:rows], new.to(value.device, value.dtype)])
    return state
