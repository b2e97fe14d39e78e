"""One expert's adapter on disk, as PEFT writes and reads it: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from rsmoe.errors import UserError

if TYPE_CHECKING:
    from peft import LoraConfig

    from rsmoe.experts.lora import GroupedLoRA

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_UNSUPPORTED = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices")


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
    rank = first.lora_A.shape[1]
    config = LoraConfig(
        r=rank,
        lora_alpha=round(first.scale * rank, 6),  # type: ignore[arg-type]  # PEFT computes with it as a float
        lora_dropout=first.dropout,
        target_modules=list(targets),
        fan_in_fan_out=isinstance(first.base_layer, Conv1D),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    tensors = {}
    for name, layer in layers.items():
        for part, stacked in (("A", layer.lora_A), ("B", layer.lora_B)):
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
        UserError: no adapter in the folder, a damaged file, another kind of adapter, or one that does not fit.
    """
    config = _read_config(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {folder / WEIGHTS} ({error}); save it again with save_pretrained") from error
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or match["layer"] not in layers:
            raise UserError(
                f"{folder} adapts {key!r}, which this bank does not; set bank.targets to "
                f"{sorted(config.target_modules or [])} on the same base model ({config.base_model_name_or_path})"
            )
        pairs.setdefault(match["layer"], {})[match["part"]] = tensor
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    for name, pair in pairs.items():  # all is checked before anything changes
        a, b = layers[name].lora_A[index], layers[name].lora_B[index]
        given = {part: tuple(tensor.shape) for part, tensor in pair.items()}
        if given != {"A": (config.r, a.shape[1]), "B": (b.shape[0], config.r)} or config.r > a.shape[0]:
            raise UserError(
                f"{folder}: {name} has shapes {given}, this bank {tuple(a.shape)} and {tuple(b.shape)}; use the same "
                f"base model and bank.rank >= {config.r}"
            )
    for name, layer in layers.items():
        layer.lora_B[index].zero_()
        if name in pairs:
            layer.lora_A[index, : config.r] = pairs[name]["A"].to(layer.lora_A)
            layer.lora_B[index, :, : config.r] = pairs[name]["B"].to(layer.lora_B) * (scale / layer.scale)


def _read_config(folder: Path) -> LoraConfig:
    from peft import LoraConfig, PeftConfig

    if not (folder / CONFIG).is_file():
        raise UserError(f"no {CONFIG} in {folder}; expected a folder that PEFT's save_pretrained wrote")
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} is not an adapter config of PEFT ({error})") from error
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder} holds a {config.peft_type} adapter; the bank reads LoRA only")
    used = [name for name in _UNSUPPORTED if getattr(config, name, None)]
    if used or config.bias != "none":
        raise UserError(f"{folder} uses {used or ['bias']}, which the bank has not; train it with plain LoRA")
    return config
