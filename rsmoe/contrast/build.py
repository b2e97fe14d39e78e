"""Config -> dual encoder, and a checkpoint -> the same one again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from rsmoe.build import require_fit
from rsmoe.checks.arguments import explained
from rsmoe.checks.ranges import Positive
from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.parts import check_node, instantiate, known_parts, named_in_full
from rsmoe.trust.checkpoint import check_finite
from rsmoe.trust.plain import require_names, require_plain

PARTS = ("vision", "image_head", "text_tower", "pair_loss")
"""Keys of a config whose parts are built; each is a group of ``conf/``."""
_LITE = "rsmoe.vision.efficientnet_lite.EfficientNetLite"


def fit_codec(config: Mapping[str, Any], captions: Iterable[str]) -> TextCodec:
    """The tokenizer of the text tower: its checkpoint's, or one that is fitted on the training captions."""
    name = config["text_tower"].get("pretrained")
    return TextCodec.from_pretrained(name) if name else TextCodec.fit(captions)


def text_tokens(model: DualEncoder, codec: TextCodec) -> TextTokens:
    """How texts become what the tower of a model reads."""
    text: Any = model.text
    return TextTokens(
        codec, longest=text.longest, wrap=getattr(text, "wrap", False), padded=getattr(text, "padded", False)
    )


def build_dual(config: Mapping[str, Any], codec: TextCodec) -> DualEncoder:
    """The dual encoder of a resolved config of ``conf/contrast.yaml``."""
    vision = instantiate(config["vision"], bands=config["bands"])
    image = instantiate(config["image_head"], width=vision.width)
    return DualEncoder(
        vision=vision.to(memory_format=torch.channels_last),  # faster convolutions on CPU
        image=image,
        text=instantiate(config["text_tower"], vocab_size=codec.vocab_size, dim=image.dim),
        loss=instantiate(config["pair_loss"]),
    )


class _Saved(BaseModel):
    """What building takes from a config out of a file, beside its parts."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    bands: Positive
    image_size: Positive
    mean: list[float]
    std: list[float]


def load_dual(
    checkpoint: Mapping[str, Any], *, finest: int | None = None
) -> tuple[DualEncoder, TextCodec, dict[str, Any]]:
    """Dual encoder, in eval mode, tokenizer and config of a checkpoint that `rsmoe.commands.contrast` wrote.

    Args:
        finest: stride of the finest level of the pyramid, on which no weight of an EfficientNet-Lite depends; None: as
            it was trained with.

    Raises:
        UserError: it holds more than data about known parts, or weights of another model; ``finest`` without such an
            encoder.
    """
    hparams, state = checkpoint["hyper_parameters"], checkpoint.get("state_dict")
    require_plain(hparams, "hyper_parameters")
    config = dict(hparams["config"])
    try:
        _Saved.model_validate(config)
    except ValidationError as error:
        raise UserError(f"the config in this file cannot be used: {explained('', config, error)}") from None
    for key in PARTS:
        node: Any = config.get(key)
        target = node.get("_target_") if isinstance(node, dict) else None
        if target not in known_parts()[key] and not named_in_full(str(target)):
            raise UserError(f"the config in this file cannot be used: {key}._target_={target} is no part of conf/{key}")
        check_node(key, node, whole=False)
        require_names(key, node)
    if config["vision"]["_target_"] == _LITE:
        config["vision"] = {**config["vision"], "pretrained": None}  # the file holds the weights
        config["vision"] |= {} if finest is None else {"finest": finest}
    elif finest is not None:
        raise UserError("this dual encoder has no EfficientNet-Lite: train one with vision=efficientnet_lite0")
    if not isinstance(state, Mapping) or not all(type(value) is Tensor for value in state.values()):
        raise UserError("this checkpoint holds no weights of a dual encoder; give a run of rsmoe.commands.contrast")
    codec = TextCodec.from_state(hparams["codec"])
    model = build_dual(config, codec)
    given = {name.removeprefix("model."): value for name, value in state.items()}
    check_finite(given)
    require_fit(model.state_dict(), given)
    model.load_state_dict(given)
    return model.eval().requires_grad_(False), codec, config
