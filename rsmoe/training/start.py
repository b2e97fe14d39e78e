"""A model that starts from what another run has learned: fine-tuning, ablations on one encoder, adapters of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from rsmoe.build import codecs_of, load_run
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError, require_known
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.trust.checkpoint import check_finite


def start_from(
    model: RSMoE, checkpoint: Mapping[str, Any], *, codec: TextCodec, instruction_codec: TextCodec
) -> tuple[int, list[str]]:
    """Copies every weight of a checkpoint that has a place of the same name and shape in ``model``.

    Vocabularies that were fitted on training texts differ between corpora: of a tensor with one row a word, the rows
    of words that both know are copied, and the others stay as they are. A model of one adapter (``moe=none``) takes
    that of the first expert, and many experts take each a copy of a single one: adapters and soft prompts.

    Args:
        checkpoint: of any run, see `rsmoe.training.checkpoints.load_checkpoint`.
        codec, instruction_codec: those of ``model``.

    Returns:
        how many tensors were copied, and the names of those that start anew.

    Raises:
        UserError: nothing fits, or the checkpoint was not written by `rsmoe.train`.
    """
    pairs = list(zip(codecs_of(checkpoint), (codec, instruction_codec), strict=True))
    given = _weights(checkpoint)
    shared = [_shared(old, new) for old, new in pairs]
    tables = _tables(model)
    own, anew = model.state_dict(), []
    for name, value in own.items():
        other = given.get(name)
        if other is None or other.shape[1:] != value.shape[1:]:
            anew.append(name)
        elif name in tables and [len(other), len(value)] == [c.vocab_size for c in pairs[tables[name]]]:
            before, now = shared[tables[name]]
            value[now] = other[before].to(value.dtype)
        elif other.shape != value.shape and not (_by_expert(name, value) and 1 in (len(other), len(value))):
            anew.append(name)
        elif other.shape != value.shape:
            value.copy_(other[:1].to(value.dtype).expand_as(value))
        else:
            value.copy_(other)
    if len(anew) == len(own):
        raise UserError("start=...: no weight of that checkpoint has a place in this model. Is it the run you mean?")
    model.load_state_dict(own)
    return len(own) - len(anew), anew


def start_vision(vision: nn.Module, checkpoint: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Copies the weights of another run's vision encoder, as far as they have a place of the same name and shape.

    Args:
        vision: of a mixture or of a dual encoder.
        checkpoint: of either kind.

    Returns:
        how many tensors were copied, and the names of those that stay as they are.

    Raises:
        UserError: nothing fits.
    """
    given, own = _weights(checkpoint), vision.state_dict()
    taken = {name: given[f"vision.{name}"] for name in own if f"vision.{name}" in given}
    taken = {name: value for name, value in taken.items() if value.shape == own[name].shape}
    if not taken:
        raise UserError(
            "start=...: no weight of that run's vision encoder has a place here. Choose the vision= of that run, "
            "which config.yaml in its folder names"
        )
    vision.load_state_dict(own | taken)
    return len(taken), [name for name in own if name not in taken]


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Name in the model -> weight, with those of a frozen base that the file leaves out."""
    given = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
    check_finite(given)
    return load_run(checkpoint)[0].state_dict() if checkpoint.get("bases") else given


def load_adapters(model: RSMoE, folders: Mapping[str, str], stages: Sequence[Stage]) -> None:
    """Gives experts the LoRA adapters of folders, see `rsmoe.experts.peft_format.read_adapter`.

    Args:
        folders: name of an expert -> a folder that PEFT or ``rsmoe.commands.export`` wrote.
        stages: of the run; in none of them may one adapter be copied over the others.

    Raises:
        UserError: no such expert, an adapter that does not fit, or a stage that would copy over it.
    """
    for name, folder in folders.items():
        require_known("expert in adapters", name, known=model.names)
        for stage in stages:
            if stage.upcycle and len(model.names) > 1:
                raise UserError(
                    f"adapters={{{name}:{folder}}}: the stage {stage.name!r} copies its first adapter over all others. "
                    f"Add stage.{stage.name}.upcycle=false, or choose schedule=single_stage"
                )
        model.bank.load_adapter(model.names.index(name), folder)


def _by_expert(name: str, value: torch.Tensor) -> bool:
    """Whether a weight has one matrix an expert: adapters (E, r, in) and (E, out, r), soft prompts (E, P, D)."""
    return name.startswith(("bank.", "prompts.")) and value.ndim == 3


def _tables(model: RSMoE) -> dict[str, int]:
    """Weights that may have one row a token -> whose tokens: 0 of the language model, 1 of the instruction."""
    names = [f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)]
    names += [name for name in model.state_dict() if name.endswith("lm_head.weight")]
    return {name: int(name.startswith(("qformer.", "router."))) for name in names}


def _shared(old: TextCodec, new: TextCodec) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of the tokens that both codecs have, in either of them."""
    before, now = old.vocabulary(), new.vocabulary()
    pairs = sorted((i, now[token]) for token, i in before.items() if token in now)
    first, second = zip(*pairs, strict=True)
    return torch.tensor(first), torch.tensor(second)
