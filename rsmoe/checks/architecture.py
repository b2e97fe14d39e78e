"""A transformers config, as a yaml or a checkpoint has it, held against what its ``model_type`` takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from rsmoe.checks.arguments import check_arguments
from rsmoe.checks.llama_config import LlamaConfig
from rsmoe.checks.ranges import MOST
from rsmoe.errors import UserError, shown, unknown_name

_SIZE = re.compile(
    r"(hidden|intermediate|patch|image|vocab)_size|num_(hidden_layers|attention_heads|key_value_heads)|head_dim|ffn_dim|"
    r"max_position_embeddings|n_(embd|layer|head|positions)"
)
_BUILT = re.compile(r"(num|n)_.*(layers?|heads?|blocks?)|depths?")
"""Of what so many are built."""
_DROPPED = re.compile(r".*(dropout|_prob|_pdrop|drop_path_rate)")


def check_architecture(config: Mapping[str, Any], *, key: str) -> None:
    """Raises `UserError` for a number or a word that the config's model cannot take; nothing is built.

    Args:
        config: arguments of a ``transformers`` config; keys that its class does not name are left to transformers.
        key: of the config, "lm.config".
    """
    kind = config.get("model_type")
    if kind is None:
        return  # the part that reads it says so
    part = LlamaConfig if LlamaConfig.fits(config) else _theirs(kind, key=key)
    taken = inspect.signature(part).parameters
    # transformers writes an infinity into its json as a mapping
    given = {name: value for name, value in config.items() if name in taken and "__float__" not in repr(value)}
    check_arguments(part, given, key=key, whole=False)
    for name, value in config.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if _SIZE.fullmatch(name) and not 1 <= number <= MOST:
                raise UserError(f"{key}.{name}={shown(value)}: expected 1 or more")
            if _BUILT.fullmatch(name) and not 0 <= number <= 1000:
                raise UserError(f"{key}.{name}={shown(value)}: expected 1000 at most")
            if _DROPPED.fullmatch(name) and not 0 <= number < 1:
                raise UserError(f"{key}.{name}={shown(value)}: expected 0 or more and less than 1")


def _theirs(kind: Any, *, key: str) -> Callable[..., Any]:
    from transformers import CONFIG_MAPPING  # here: a second, which a Llama of our own does not need

    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise unknown_name(f"{key}.model_type", str(kind), CONFIG_MAPPING)
    theirs: Callable[..., Any] = CONFIG_MAPPING[kind]
    return theirs
