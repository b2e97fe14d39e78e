"""What a checkpoint may hold: tensors, plain values, and names of known parts. Nothing else in it is ever built."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from rsmoe.checks.architecture import check_architecture
from rsmoe.checks.arguments import check_arguments, explained
from rsmoe.checks.ranges import Depth, NonNegative, Positive, PositiveReal
from rsmoe.config import conf_dir
from rsmoe.errors import UserError, shown
from rsmoe.parts import admitted, check_node, known_parts, locate, named_in_full

_BUILT = ("vision", "temporal", "qformer", "router", "prompts", "lm", "bank", "fusion")
"""Keys of a config whose parts are built from a checkpoint; ``expert.*``, ``maps.*`` and ``bypass`` beside them."""
_NAMED = ("trainer", "logger", "callback", "optimizer", "corpus", "data", "evaluation")
"""Keys whose parts are named in a checkpoint, for the record, and never built from it."""
_REMOTE = re.compile(
    r"_(?!_float__).*|auto_map|trust_remote_code|code_revision|.*quantization_config|.*attn_implementation|use_kernels|"
    r".*kernel_config|torchscript|.*backbone.*|.*pretrained.*|custom_.*"
)
"""Keys of a transformers config that would make it fetch, load or compile something."""
_LONGEST, _DEEPEST, _MOST = 64 * 2**20, 32, 500_000

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Codec(BaseModel, **_STRICT):
    tokenizer: str
    roles: dict[Literal["pad_token", "unk_token", "bos_token", "eos_token"], str]
    special: list[str]


def _plain_word(word: str) -> str:
    key = re.fullmatch(r"(?:~|\+\+?)?([A-Za-z_][\w./@:-]*)(?:=.*)?", word, re.DOTALL)
    named = re.findall(r"_target_['\"]?\s*[=:]\s*['\"]?([\w.]+)", word)
    parts = len(named) == word.count("_target_") and all(map(_may_be_chosen, named))
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
    words: list[Annotated[str, AfterValidator(_plain_word)]] = []


class _Checkpoint(BaseModel, **_STRICT):
    hyper_parameters: _Parameters
    state_dict: dict[str, Any]
    global_step: NonNegative = 0
    router_trace: list[dict[str, Any]] = []
    stage_over: bool = False
    bases: list[dict[str, Any]] = []
    optimizer_states: list[dict[str, Any]] = []
    lr_schedulers: list[dict[str, Any]] = []
    loops: dict[str, Any] = {}
    callbacks: dict[str, Any] = {}
    version: str = Field("", alias="pytorch-lightning_version")


class _Moe(BaseModel, **_STRICT):
    adapters: Depth | None


class _Text(BaseModel, **_STRICT):
    lm: str | None
    instruction: str | None


class _Seen(BaseModel, **_STRICT):
    """What a model and its pictures take from a config beside its parts."""

    bands: Positive
    image_size: Annotated[int, Field(ge=1, le=2**15)]
    mean: list[float]
    std: list[PositiveReal]
    noun_grounding: bool
    maps: dict[str, dict[str, Any]]
    moe: _Moe
    text: _Text
    loader: dict[str, Any]
    expert: dict[str, dict[str, Any]]


def check_checkpoint(checkpoint: Any) -> None:
    """Refuses what is no checkpoint of `rsmoe.train`, before anything in it is used; no weight is read.

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
        _require_plain(checkpoint.get(key), key)
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
        _check_numbers_and_words(f"built.{group}", config)
        check_architecture(config, key=f"built.{group}")
    for base in checkpoint.get("bases", []):
        _require_names("bases", base)
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


def check_saved_config(config: Any) -> None:
    """Refuses a config out of a file, a checkpoint's or a run folder's, that is more than data about known parts.

    Of the parts that are built from it, each must be one that a yaml of rsmoe's own ``conf/`` names for that key, or be
    named in full in the environment variable RSMOE_TRUST, and its arguments those that it takes. Trainer, logger, data
    and metrics are named for the record: they must be parts too, and are not built. There are no interpolations, no
    ``_args_`` or ``_partial_``, no other containers than lists and mappings, no address in place of a name or a folder.

    Raises:
        UserError: the key, and what was found there.
    """
    try:
        _require_plain(config, "config")
        if not isinstance(config, dict):
            raise UserError(f"config={shown(config)}: expected a mapping")
        _check_seen(config)
        slots = _slots(config)
        own = [node["_target_"] for path, node in _nodes(config, "") if path in slots and _is_own(node.get("_target_"))]
        for path, node in _nodes(config, ""):
            _check_words(path, node, inside=path.split(".")[0])
            if "_target_" not in node:
                continue
            if path in slots:
                _check_part(path, node, group=slots[path], own=own)
            elif path.split(".")[0] in _NAMED:
                _check_named(path, node["_target_"])
            else:
                raise UserError(f"{path}._target_={shown(node['_target_'])}: no part belongs there")
        for path in slots:
            if "_target_" not in _at(config, path):
                raise UserError(f"{path} has no _target_")
    except UserError as error:
        raise UserError(f"the config in this file cannot be used: {error}") from None


def check_continued(config: Mapping[str, Any]) -> None:
    """The parts that a run which goes on takes from its own file and builds: trainer, logger, callbacks, data, metrics.

    Raises:
        UserError: one that no yaml of rsmoe's own ``conf/`` names, such as a callback, which could write anywhere.
    """
    for key in _NAMED:
        for path, node in _nodes({key: config.get(key)}, ""):
            target = node.get("_target_")
            if "_target_" in node and not (isinstance(target, str) and _may_be_chosen(target)):
                raise UserError(
                    f"{path}._target_={shown(target)} stands in the run's checkpoint, and a file may not choose it. If "
                    f"the run is yours: export RSMOE_TRUST={target}"
                )


_WRITTEN = (
    "default_root_dir", "dir", "dirpath", "save_dir", "root_dir", "settings", "profiler", "model_registry", "log_model",
)  # fmt: skip
"""Keys of trainers, callbacks and loggers that say where something is written or sent."""


def check_chosen(config: Mapping[str, Any], *, words: Sequence[str], typed: Sequence[str]) -> None:
    """What a run that goes on may not take from its own file: addresses, and places that are written to.

    Args:
        config: of the file, see `check_saved_config`.
        words: of the run's command line, out of the file; the new folder has the ``name`` in it.
        typed: words of the command line; what they say is the user's own choice.

    Raises:
        UserError: the key, and that it has to be typed again.
    """
    names = [word.partition("=")[2].strip("'\"") for word in words if word.lstrip("+").startswith("name=")]
    held: list[tuple[str, Any]] = [("name", name) for name in names]
    for path, value in [*held, *_leaves({key: config.get(key) for key in ("name", *_NAMED)}, "")]:
        first, *steps = path.removeprefix(".").split(".")
        text = str(value) if isinstance(value, str | bool | int | float) and value is not False else ""
        outside = Path(text).is_absolute() or ".." in Path(text).parts
        if (
            "://" in text
            or (first in ("name", "trainer", "callback", "logger") and outside)
            or (first in ("trainer", "callback", "logger") and text and any(step in _WRITTEN for step in steps))
            or (first == "corpus" and text and (steps[-1:] == ["cache"] or steps[1:] == ["generated", "root"]))
        ) and not any(text in word for word in typed):
            key = path.removeprefix(".")
            raise UserError(
                f"{key}={shown(value)} stands in the run's checkpoint, and a file may not choose what is fetched, or "
                f"where something is written. If it is your choice, type it again: {key}={shown(value)}"
            )


def _may_be_chosen(target: str) -> bool:
    """Whether a file may choose a part that resuming builds: one that a yaml of ours names, or the user in full."""
    yamls = (path.read_text(encoding="utf-8") for path in conf_dir().rglob("*.yaml"))
    return named_in_full(target) or any(target in re.findall(r"_target_: *([\w.]+)", text) for text in yamls)


def _slots(config: Mapping[str, Any]) -> dict[str, str]:
    """Key of each part that is built -> the group of ``conf/`` that it must be of."""
    slots = {key: key for key in _BUILT}
    slots |= {"bypass": "bypass"} if config.get("bypass") else {}
    slots |= {f"maps.{name}": "maps" for name, node in config["maps"].items() if "_target_" in node}
    slots |= {f"expert.{name}": "expert" for name in config["expert"]}
    if isinstance(config.get("prompts"), dict) and config["prompts"].get("lm"):
        slots["prompts.lm"] = "lm"
    for path in slots:
        if not isinstance(_at(config, path), dict):
            raise UserError(f"{path}={shown(_at(config, path))}: expected a part, a mapping with _target_")
    return slots


def _at(config: Mapping[str, Any], path: str) -> Any:
    first, _, rest = path.partition(".")
    return config.get(first, {}).get(rest) if rest else config.get(first)


def _check_seen(config: Mapping[str, Any]) -> None:
    try:
        _Seen.model_validate(config)
    except ValidationError as error:
        raise explained("", config, error) from None
    if not len(config["mean"]) == len(config["std"]) == config["bands"]:
        raise UserError(f"mean, std and bands={config['bands']}: expected one value for each band")
    if not config["expert"]:
        raise UserError("expert={}: expected one or more")
    from rsmoe.data.collate import Collate

    collate = config["loader"].get("collate", {})
    if not isinstance(collate, dict):
        raise UserError(f"loader.collate={shown(collate)}: expected a mapping")
    check_arguments(Collate, collate, key="loader.collate", whole=False)


def _check_named(path: str, target: Any) -> None:
    """A part that is not built: one that a user could have typed."""
    try:
        if not (isinstance(target, str) and (admitted(target) or any(target in t for t in known_parts().values()))):
            locate(target)
    except UserError:
        raise _untrusted(path, target, "no part of rsmoe or Lightning") from None


def _check_part(path: str, node: Mapping[str, Any], *, group: str, own: Sequence[str]) -> None:
    target = node["_target_"]
    if not isinstance(target, str) or target not in known_parts()[group] and not named_in_full(target):
        raise _untrusted(path, target, f"no part of rsmoe that goes there, as those of conf/{group} do", own)
    check_node(path, node, whole=False)
    _require_names(path, node)
    if isinstance(node.get("config"), dict):
        _check_numbers_and_words(f"{path}.config", node["config"])


def _untrusted(path: str, target: Any, reason: str, own: Sequence[str] = ()) -> UserError:
    names = ",".join(dict.fromkeys(own or [str(target)]))
    advice = f". Only if you wrote it yourself: export RSMOE_TRUST={names}" if _is_own(target) else ""
    return UserError(f"{path}._target_={shown(target)} is not trusted: {reason}{advice}")


def _is_own(target: Any) -> bool:
    """Whether a target may be code of the user's own: nobody is advised to trust the rest of Python."""
    top = str(target).split(".")[0]
    return isinstance(target, str) and top not in sys.stdlib_module_names and top not in ("rsmoe", "lightning", "torch")


def _check_words(path: str, node: Mapping[Any, Any], *, inside: str) -> None:
    """Of the keys that begin with an underscore, only those that mean nothing here or are for the record."""
    for key in node:
        if isinstance(key, str) and key.startswith("_"):
            recorded = key == "_partial_" and inside in _NAMED
            if key not in ("_target_", "_convert_") and not recorded:
                raise UserError(f"{path + '.' if path else ''}{key}: a saved config has no such key")


def _check_numbers_and_words(path: str, config: Mapping[str, Any]) -> None:
    """A transformers config as numbers and words alone."""
    for place, node in _nodes(config, path):
        for key, value in node.items():
            number = type(value) in (int, float)  # `_sliding_window_pattern` of Gemma, `backbone_hidden_size`
            if isinstance(key, str) and _REMOTE.fullmatch(key) and value not in (None, False, "") and not number:
                raise UserError(f"{place}.{key}={shown(value)}: a saved config may not name code or further files")
    _require_names(path, config)


def _require_names(path: str, node: Any) -> None:
    """No address anywhere: weights are named by folder, or by their name on the hub."""
    for place, value in _leaves(node, path):
        if isinstance(value, str) and "://" in value:
            raise UserError(f"{place}={shown(value)}: expected a name or a folder; addresses in files are not followed")


def _require_plain(value: Any, path: str) -> None:
    """Mappings, lists, texts, numbers, true, false and null, not too many, not too deep, and no interpolation."""
    for count, (place, leaf) in enumerate(_leaves(value, path)):
        if count > _MOST:
            raise UserError(f"{path} holds more than {_MOST} values")
        if type(leaf) not in (str, int, float, bool, type(None)):
            raise UserError(f"{place} holds a {type(leaf).__name__}: expected plain values")
        if isinstance(leaf, int) and abs(leaf) >= 2**63 or isinstance(leaf, str) and len(leaf) > _LONGEST:
            raise UserError(f"{place}={shown(leaf)}: too large")
        if isinstance(leaf, str) and "${" in leaf and not re.search(r"codec\.tokenizer$", place):
            raise UserError(f"{place}={shown(leaf)}: a saved config is resolved, it has no ${{...}}")


def _leaves(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value that is no list and no mapping, and every key of a mapping, with its place."""
    if depth > _DEEPEST:
        raise UserError(f"{path[:60]}...: nested more than {_DEEPEST} deep")
    if type(value) is dict:
        for key, inner in value.items():
            yield f"a key of {path}", key
            yield from _leaves(inner, f"{path}.{key}", depth + 1)
        if not value:
            yield path, None
    elif type(value) is list:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{place}", depth + 1)
        if not value:
            yield path, None
    else:
        yield path, value


def _nodes(value: Any, path: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every mapping, with its place."""
    if isinstance(value, dict):
        yield path, value
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(inner, f"{path}.{step}" if path else str(step))
