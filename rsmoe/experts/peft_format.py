"""One expert's adapter on disk, as PEFT writes and reads it: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsmoe.checks.arguments import explained
from rsmoe.checks.ranges import Positive, Share
from rsmoe.errors import UserError, shown
from rsmoe.experts.lora import GroupedLoRA, is_conv1d

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")


def write_adapter(
    layers: Mapping[str, GroupedLoRA], index: int, folder: Path, *, base: str, targets: Sequence[str]
) -> None:
    """Writes expert ``index`` so that ``PeftModel.from_pretrained(base_model, folder)`` gives the same logits.

    Args:
        layers: adapted layers by their path in the base model.
        base: name or folder of the base model, recorded for the reader.
        targets: PEFT's ``target_modules``.
    """
    from peft import LoraConfig

    first = next(iter(layers.values()))
    rank = first.factors()[0].shape[1]  # those of a shared adapter, too
    config = LoraConfig(
        r=rank,
        lora_alpha=round(first.scale * rank, 6),  # type: ignore[arg-type]  # PEFT computes with it as a float
        lora_dropout=first.dropout,
        target_modules=list(targets),
        fan_in_fan_out=is_conv1d(first.base_layer),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    tensors = {}
    for name, layer in layers.items():
        for part, stacked in zip("AB", layer.factors(), strict=True):
            tensors[f"base_model.model.{name}.lora_{part}.weight"] = stacked[index].detach().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    # a full disk or an interruption leaves nothing half-written under the final names
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as work:
        save_file(tensors, Path(work) / WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(work)
        for name in (WEIGHTS, CONFIG):
            os.replace(Path(work) / name, folder / name)


@torch.no_grad()
def read_adapter(layers: Mapping[str, GroupedLoRA], index: int, folder: Path) -> None:
    """Reads a LoRA adapter into expert ``index``, numerically equal to PEFT's own.

    Its rank may be smaller than ours (the rest of B is zero), its alpha may differ (B takes the ratio), and layers
    that it leaves out stay as in the base.

    Raises:
        UserError: no adapter in the folder, a damaged file, one that does not fit, or one whose config has any field,
            known to PEFT or not, that differs from PEFT's default and that the bank does not compute as PEFT does:
            such an adapter changes the base, or more than the base's linear layers.
    """
    if any(len(layer.lora_A) < len(layer.lora_B) for layer in layers.values()):
        raise UserError(
            f"{folder} has an A of its own, and all experts of this bank share one: give bank.shared_a=false"
        )
    config = _read_config(folder)
    if not (folder / WEIGHTS).is_file():  # a pipe would be waited for, by a library that hears no Ctrl-C
        raise UserError(f"there is no file {folder / WEIGHTS}; save the adapter again with save_pretrained")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {folder / WEIGHTS} ({error}); save it again with save_pretrained") from error
    pairs = _pairs(layers, tensors, config, folder)  # all is checked before anything changes
    for name, layer in layers.items():
        layer.asleep = False
        layer.lora_B[index].zero_()
        if name in pairs:
            layer.lora_A[index, : config.r] = pairs[name]["A"].to(layer.lora_A)
            layer.lora_B[index, :, : config.r] = pairs[name]["B"].to(layer.lora_B) * (config.scale / layer.scale)


def _pairs(
    layers: Mapping[str, GroupedLoRA], tensors: Mapping[str, Tensor], config: _Config, folder: Path
) -> dict[str, dict[str, Tensor]]:
    """Layer -> its A and B; each that the config promises, no other, all finite, in shapes that fit."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or match["layer"] not in layers:
            raise UserError(
                f"{folder} adapts {key!r}, which this bank does not; set bank.targets to "
                f"{config.targets} on the same base model ({config.base_model_name_or_path})"
            )
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise UserError(f"{folder}: {key!r} is not finite ({tensor.dtype}); the adapter's training has diverged")
        if match["part"] in pairs.setdefault(match["layer"], {}):
            raise UserError(f"{folder} holds {key!r} twice, with and without 'default' in the name; keep one of them")
        pairs[match["layer"]][match["part"]] = tensor
    if missing := [name for name in layers if config.promises(name) and name not in pairs]:
        raise UserError(
            f"{folder} has no weights for {len(missing)} of the layers in its target_modules, first: {missing[0]}; "
            f"save it again with save_pretrained"
        )
    for name, pair in pairs.items():
        a, b = layers[name].lora_A[0], layers[name].lora_B[0]
        given = {part: tuple(tensor.shape) for part, tensor in pair.items()}
        if given != {"A": (config.r, a.shape[1]), "B": (b.shape[0], config.r)} or config.r > a.shape[0]:
            raise UserError(
                f"{folder}: {name} has shapes {given}, this bank {tuple(a.shape)} and {tuple(b.shape)}; use the same "
                f"base model and bank.rank >= {config.r}"
            )
    return pairs


class _Config(BaseModel, strict=True, allow_inf_nan=False):
    """What the bank implements of PEFT's LoraConfig; every other field must have PEFT's default."""

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: Positive = 8
    lora_alpha: float = 8.0
    lora_dropout: Share = 0.0  # of training; here it is the bank's own
    use_rslora: bool = False
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    init_lora_weights: bool | Literal["gaussian", "orthogonal"] = True  # the others change the base
    fan_in_fan_out: bool = False  # how a merged weight lies in memory
    base_model_name_or_path: str | None = None
    revision: str | None = None
    peft_version: str | None = None
    inference_mode: bool = False
    auto_mapping: dict[str, Any] | None = None

    @property
    def scale(self) -> float:
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)

    @property
    def targets(self) -> str:
        return (
            str(self.target_modules) if isinstance(self.target_modules, str) else str(sorted(self.target_modules or []))
        )

    def promises(self, layer: str) -> bool:
        """Whether an adapter of this config has weights for a layer; False where a pattern would have to be tried."""
        named = [self.target_modules, self.exclude_modules or []]
        if not all(isinstance(names, list) for names in named):
            return False
        if self.layers_to_transform is not None or self.layers_pattern:
            return False
        wanted, not_wanted = (any(layer == n or layer.endswith(f".{n}") for n in names) for names in named)  # type: ignore[union-attr]
        return wanted and not not_wanted


def _read_config(folder: Path) -> _Config:
    from peft import LoraConfig

    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"no {CONFIG} in {folder}; expected a folder that PEFT's save_pretrained wrote")
    try:
        if path.stat().st_size > 2**20:
            raise ValueError(f"{path.stat().st_size} bytes are too many for one")
        given = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(given, dict):
            raise ValueError(f"it holds a {type(given).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not an adapter config of PEFT ({error})") from error
    if given.get("peft_type") != "LORA":
        raise UserError(f"{folder} holds a {shown(given.get('peft_type'))} adapter; the bank reads LoRA only")
    usual = LoraConfig().to_dict()
    for name, value in given.items():
        if name not in _Config.model_fields and value != usual.get(name) and (value or usual.get(name)):
            raise UserError(
                f"{folder} was made with {name}={shown(value)}, which the bank does not compute; train it with "
                f"plain LoRA ({name}={shown(usual.get(name))})"
            )
    try:
        return _Config.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{path}: {explained('', given, error)}, for the bank reads plain LoRA only") from None
