"""Small trainable parts for the layers of a pretrained tower, which itself may rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Required

from peft import LoraConfig, inject_adapter_in_model
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypedDict

from rsmoe.checks.ranges import Positive
from rsmoe.errors import UserError
from rsmoe.vision.prefix_attention import PrefixAttention
from rsmoe.weights.pretrained import parent_of


class TowerLora(TypedDict, total=False):
    """Low-rank adapters of a tower's linear layers (LoRA, arXiv 2106.09685), as `peft` puts them there."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    rank: Required[Positive]
    alpha: Positive
    """The update is scaled by alpha / rank; without it by 1."""
    targets: list[str]
    """Ends of the layers' names, such as [q_proj, v_proj]; without it all linear layers."""


class TowerBottleneck(TypedDict, total=False):
    """Bottleneck adapters behind linear layers of a tower, see `Bottleneck`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    width: Required[Positive]
    """Channels in between."""
    targets: list[str]
    """Ends of the layers' names. [fc2], the default, is behind the MLP of CLIP and SigLIP, the place of Pfeiffer et al.
    (arXiv 2005.00247); [out_proj, fc2] is behind the attention too, as Houlsby et al. (arXiv 1902.00751) have it."""


class Bottleneck(nn.Module):
    """A linear layer with an adapter behind it, before the residual: ``y = f(x);  y + U gelu(D y)``, U zero at first.

    Args:
        base_layer: f.
        width: channels between D and U.
    """

    def __init__(self, base_layer: nn.Linear, width: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapter_down = nn.Linear(base_layer.out_features, width)
        self.adapter_up = nn.Linear(width, base_layer.out_features)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y: Tensor = self.base_layer(x)
        added: Tensor = self.adapter_up(F.gelu(self.adapter_down(y)))
        return y + added


def adapt(
    tower: nn.Module, *, key: str, lora: TowerLora | None, bottleneck: TowerBottleneck | None, prefix: int | None
) -> None:
    """Puts adapters on the layers of a tower, in place; at first all but a prefix change nothing.

    Args:
        key: of the tower in the config, for messages.
        prefix: pairs of key and value in each self-attention, see `rsmoe.vision.prefix_attention.PrefixAttention`.

    Raises:
        UserError: no layer has a name that ends as given; a prefix for another tower than CLIP's or SigLIP's.
    """
    if prefix is not None:
        layers = [n for n, m in tower.named_modules() if n.endswith(".self_attn") and hasattr(m, "q_proj")]
        if not layers:
            raise UserError(f"{key}.prefix={prefix}: a prefix is for towers of CLIP and SigLIP; choose {key}.lora=")
        for name in layers:
            parent, leaf = parent_of(tower, name)
            setattr(parent, leaf, PrefixAttention(getattr(parent, leaf), prefix))
    if bottleneck is not None:
        ends = bottleneck.get("targets", ["fc2"])
        for name in _linear_layers(tower, ends, key=f"{key}.bottleneck.targets"):
            parent, leaf = parent_of(tower, name)
            setattr(parent, leaf, Bottleneck(getattr(parent, leaf), bottleneck["width"]))
    if lora is not None:
        chosen = lora.get("targets")
        names = _linear_layers(tower, chosen, key=f"{key}.lora.targets")
        config = LoraConfig(r=lora["rank"], lora_alpha=lora.get("alpha", lora["rank"]), target_modules=names)
        inject_adapter_in_model(config, tower)


def _linear_layers(tower: nn.Module, ends: Sequence[str] | None, *, key: str) -> list[str]:
    """Names of the linear layers that end so, of None all; adapters' own layers are none."""
    named = [name for name, module in tower.named_modules() if isinstance(module, nn.Linear) and "adapter_" not in name]
    if ends is None:
        return named
    found = []
    for end in ends:
        hits = [name for name in named if f".{name}".removesuffix(".base_layer").endswith(f".{end}")]
        if not hits:
            known = sorted({name.removesuffix(".base_layer").rpartition(".")[2] for name in named})
            raise UserError(f"{key}={list(ends)}: no linear layer's name ends with {end!r}; this tower has {known}")
        found += hits
    return found
