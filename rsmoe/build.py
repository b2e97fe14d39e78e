"""Config -> model: widths flow from the modules that are built, not from the config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from rsmoe.as_trained import check_vocabularies
from rsmoe.data.text import TextCodec
from rsmoe.errors import UserError, unknown_name
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate, locate
from rsmoe.trust import check_checkpoint, check_finite
from rsmoe.vision.glance import Glance
from rsmoe.vision.words import WordHead
from rsmoe.vision.words_about import WordsAbout

SKIPS = ("none", "mean", "cells")
"""What may go past the Q-Former."""


def fit_codecs(config: Mapping[str, Any], corpus: Iterable[str]) -> tuple[TextCodec, TextCodec]:
    """Codecs of the language model and of the Q-Former: pretrained by name, or fitted on the training text.

    The special tokens are those of the experts' heads, [SEG] and [RET] always among them.
    """
    check_vocabularies(config)
    lm, instruction = config["text"]["lm"], config["text"]["instruction"]
    heads = [getattr(locate(e["_target_"]), "token", None) for e in config["expert"].values()]
    special = sorted({"[SEG]", "[RET]", *filter(None, heads)})
    fitted = None if lm and instruction else TextCodec.fit(corpus, special=special)
    codec = TextCodec.from_pretrained(lm, special=special) if lm else fitted
    words = TextCodec.from_pretrained(instruction) if instruction else fitted
    assert codec is not None and words is not None
    return codec, words


def codecs_of(checkpoint: Mapping[str, Any]) -> tuple[TextCodec, TextCodec]:
    """The codecs that a checkpoint carries.

    Raises:
        UserError: it was not written by `rsmoe.train`.
    """
    check_checkpoint(checkpoint)
    hparams = checkpoint["hyper_parameters"]
    return TextCodec.from_state(hparams["codec"]), TextCodec.from_state(hparams["instruction_codec"])


def build_model(config: Mapping[str, Any], codec: TextCodec, instruction_codec: TextCodec) -> RSMoE:
    """The model of a resolved config (plain containers).

    Args:
        config: with the groups vision, temporal, qformer, router, prompts, lm, expert, moe, fusion.
        codec: of the language model; instruction_codec: of the Q-Former and the router.
    """
    if not config.get("expert"):
        raise UserError("no expert is selected; add for example expert=[theme,vqa]")
    vision = instantiate(config["vision"], bands=config["bands"])
    temporal = instantiate(config["temporal"], width=vision.width)
    words = instruction_codec.vocab_size
    qformer = instantiate(config["qformer"], memory_width=vision.width, vocab_size=words)
    moe = dict(config["moe"])
    size = moe.pop("adapters") or len(config["expert"])
    lm = instantiate(config["lm"], vocab_size=codec.vocab_size)
    bank = instantiate(config["bank"], lm=lm, experts=size)
    skip = config["skip"]
    if skip not in SKIPS:
        raise unknown_name("skip", str(skip), SKIPS)
    seen = {"pyramid_widths": vision.pyramid_widths, "width": vision.width}
    widths = {"hidden_width": bank.width, "pyramid_widths": vision.pyramid_widths}
    experts = [instantiate(e, **widths) for e in config["expert"].values()]
    # a template that says no more than the user's instruction adds no words
    templates = [codec.encode(e.template.replace("{instruction}", "").strip()) for e in experts][:size]
    prompts = dict(config["prompts"])
    inner = {"lm": instantiate(prompts.pop("lm"), vocab_size=codec.vocab_size)} if "lm" in prompts else {}
    cover = _map(config.get("cover"), **seen, bands=config["bands"])
    return RSMoE(
        vision=vision,
        temporal=temporal,
        qformer=qformer,
        router=instantiate(config["router"], width=qformer.width, vocab_size=words, experts=size),
        prompts=instantiate(prompts, width=bank.width, vocab_size=codec.vocab_size, templates=templates, **inner),
        bank=bank,
        fusion=_fusion(config["fusion"], codec, [e.name for e in experts]),
        experts=experts,
        skip=skip != "none",
        glance=Glance(**seen) if skip == "cells" else None,
        change=_map(config.get("change"), **seen),
        cover=cover,
        about=None
        if cover is None
        else WordsAbout(names=cover.names, codec=codec, memory_width=vision.width, width=bank.width),
        words=WordHead(width=vision.width, codec=codec) if config["words"] else None,
        bos_id=codec.bos_id if config["text"]["lm"] else None,
        special={e.token: codec.token_id(e.token) for e in experts if e.token},
    )


def _map(config: Mapping[str, Any] | None, **widths: Any) -> Any:
    """A map of changes or of cover; None where the config has none."""
    return instantiate(config, **widths) if config and config.get("_target_") else None


def _fusion(config: Mapping[str, Any], codec: TextCodec, names: Sequence[str]) -> nn.Module:
    writes = config["_target_"].endswith(".Rewrite")  # the only fusion that reads words
    fusion: nn.Module = instantiate(config, **({"codec": codec, "names": names} if writes else {}))
    return fusion


def load_run(checkpoint: Mapping[str, Any]) -> tuple[RSMoE, TextCodec, TextCodec]:
    """Model and codecs of a checkpoint that `rsmoe.train` wrote, weights loaded, in eval mode."""
    codec, instruction_codec = codecs_of(checkpoint)
    hparams = checkpoint["hyper_parameters"]
    config = hparams["config"]
    # the weights are in the checkpoint: nothing is fetched again
    config["lm"] |= {"pretrained": None} if config["lm"].get("config") else {}
    config["vision"] |= {k: None for k in ("pretrained",) if k in config["vision"]}
    config["qformer"] |= {k: None for k in ("bert", "instructblip") if k in config["qformer"]}
    model = build_model(config, codec, instruction_codec)
    check_finite(checkpoint["state_dict"])
    load_weights(model, {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items()})
    model.dense = bool(hparams.get("dense", False))
    return model.eval(), codec, instruction_codec


def load_weights(model: RSMoE, state: Mapping[str, torch.Tensor]) -> None:
    """Loads a state dict; a checkpoint of another model is refused with the first names and shapes that differ."""
    own = model.state_dict()
    shapes = [
        f"{k} {tuple(v.shape)} here {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    absent, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if shapes or absent or extra:
        raise UserError(
            "the checkpoint is of another model: "
            + "; ".join(
                f"{len(names)} {what}, first: {', '.join(names[:3])}"
                for what, names in (("shapes differ", shapes), ("missing", absent), ("unknown", extra))
                if names
            )
            + ". Use the same model=, expert=, vision=, qformer=, lm= words as in its config.yaml; one that an older "
            "rsmoe wrote can begin a new run: start=<it>"
        )
    model.load_state_dict(state)
