"""Checkpoints held against their schema before anything in them is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from rsmoe.checks.architecture import check_architecture
from rsmoe.checks.arguments import explained
from rsmoe.checks.ranges import NonNegative
from rsmoe.errors import UserError, shown
from rsmoe.trust.choices import may_be_chosen
from rsmoe.trust.plain import check_architecture_words, require_names, require_plain
from rsmoe.trust.saved_config import check_saved_config

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Codec(BaseModel, **_STRICT):
    tokenizer: str
    roles: dict[Literal["pad_token", "unk_token", "bos_token", "eos_token"], str]
    special: list[str]


def _plain_word(word: str) -> str:
    key = re.fullmatch(r"(?:~|\+\+?)?([A-Za-z_][\w./@:-]*)(?:=.*)?", word, re.DOTALL)
    named = re.findall(r"_target_['\"]?\s*[=:]\s*['\"]?([\w.]+)", word)
    parts = len(named) == word.count("_target_") and all(map(may_be_chosen, named))
    if key is None or "hydra" in re.split(r"\W", key[1]) or "${" in word or not parts:
        raise ValueError(
            "a word of a saved command line is key=value, and names no option, interpolation, key of Hydra's, or part "
            "that a file may not choose"
        )
    return word


class _Parameters(BaseModel, **_STRICT):
    config: dict[str, Any]
    codec: _Codec
    instruction_codec: _Codec
    stage: NonNegative = 0
    dense: bool = False
    trace: list[dict[str, Any]] = []
    change_classes: list[str] = []
    built: dict[str, dict[str, Any]] = {}
    start_method: str = ""
    words: list[Annotated[str, AfterValidator(_plain_word)]] = []


class _Checkpoint(BaseModel, **_STRICT):
    hyper_parameters: _Parameters
    state_dict: dict[str, Any]
    global_step: NonNegative = 0
    router_trace: list[dict[str, Any]] = []
    stage_over: bool = False
    bases: list[dict[str, Any]] = []
    rsmoe_version: str = ""
    optimizer_states: list[dict[str, Any]] = []
    lr_schedulers: list[dict[str, Any]] = []
    loops: dict[str, Any] = {}
    callbacks: dict[str, Any] = {}
    version: str = Field("", alias="pytorch-lightning_version")


def check_checkpoint(checkpoint: Any) -> None:
    """Refuses anything but a checkpoint of `rsmoe.train`, before anything in it is used; no weight is read.

    Raises:
        UserError: a key is missing, or of another type, or the config is not one that `check_saved_config` lets pass.
    """
    if not isinstance(checkpoint, Mapping):
        raise UserError(f"{_FOREIGN}: it holds {shown(checkpoint)}. {_GIVE}")
    given = checkpoint.get("hyper_parameters", {})
    held = given if isinstance(given, Mapping) else {}
    missing = [k for k in ("config", "codec", "instruction_codec") if k not in held]
    missing += [k for k in ("state_dict",) if k not in checkpoint]
    if missing and isinstance(given, Mapping):
        raise UserError(
            f"{_FOREIGN}: no {', '.join(missing)} in it (it holds "
            f"{', '.join(sorted(map(str, checkpoint))) or 'nothing'}). {_GIVE}"
        )
    for key in ("hyper_parameters", "router_trace", "bases"):
        require_plain(checkpoint.get(key), key)
    try:
        _Checkpoint.model_validate(dict(checkpoint))
    except ValidationError as error:
        raise UserError(f"{_FOREIGN}: {explained('', checkpoint, error)}. {_GIVE}") from None
    for name, value in checkpoint["state_dict"].items():
        if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided or value.is_quantized:
            raise UserError(f"{_FOREIGN}: state_dict.{name} is no tensor: {shown(value)}. {_GIVE}")
        if not value.is_meta and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(
                f"{_FOREIGN}: state_dict.{name} {tuple(value.shape)} has more numbers than the file. {_GIVE}"
            )
    for group, config in held.get("built", {}).items():
        check_architecture_words(f"built.{group}", config)
        check_architecture(config, key=f"built.{group}")
    for base in checkpoint.get("bases", []):
        require_names("bases", base)
    check_saved_config(held["config"])


_FOREIGN = "this checkpoint was not written by rsmoe.train"

_GIVE = "Give a run folder: checkpoint=runs/<experiment>/<time>"


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Refuses weights that are NaN or infinite: every answer would be noise."""
    for name, value in state.items():
        if value.is_floating_point() and value.numel():
            plain = value if value.element_size() > 1 else value.float()
            if not all(math.isfinite(edge) for edge in torch.stack(torch.aminmax(plain.detach())).float().tolist()):
                raise UserError(
                    f"the weights of this checkpoint are not finite, first: {name}. Its training has diverged, or the "
                    f"file is damaged; take an earlier one"
                )
