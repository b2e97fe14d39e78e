"""Plain data out of a file: values, texts and containers within limits, without code or addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rsmoe.errors import UserError, shown

_REMOTE = re.compile(
    r"_(?!_float__).*|auto_map|trust_remote_code|code_revision|.*quantization_config|.*attn_implementation|use_kernels|"
    r".*kernel_config|torchscript|.*backbone.*|.*pretrained.*|custom_.*"
)
"""Keys of a transformers config that would make it fetch, load or compile something."""
_LONGEST, _DEEPEST, _MOST = 64 * 2**20, 32, 500_000
"""Characters of a text, levels and values that a file may hold."""


def check_architecture_words(path: str, config: Mapping[str, Any]) -> None:
    """A transformers config as numbers and words alone."""
    for place, node in nodes(config, path):
        for key, value in node.items():
            number = type(value) in (int, float)  # `_sliding_window_pattern` of Gemma, `backbone_hidden_size`
            if isinstance(key, str) and _REMOTE.fullmatch(key) and value not in (None, False, "") and not number:
                raise UserError(f"{place}.{key}={shown(value)}: a saved config may not name code or further files")
    require_names(path, config)


def require_names(path: str, node: Any) -> None:
    """No address anywhere: weights are named by folder, or by their name on the hub."""
    for place, value in leaves(node, path):
        if isinstance(value, str) and "://" in value:
            raise UserError(f"{place}={shown(value)}: expected a name or a folder; addresses in files are not followed")


def require_plain(value: Any, path: str) -> None:
    """Mappings, lists, texts, numbers, true, false and null, not too many, not too deep, and no interpolation."""
    for count, (place, leaf) in enumerate(leaves(value, path)):
        if count > _MOST:
            raise UserError(f"{path} holds more than {_MOST} values")
        if type(leaf) not in (str, int, float, bool, type(None)):
            raise UserError(f"{place} holds a {type(leaf).__name__}: expected plain values")
        if isinstance(leaf, int) and abs(leaf) >= 2**63 or isinstance(leaf, str) and len(leaf) > _LONGEST:
            raise UserError(f"{place}={shown(leaf)}: too large")
        if isinstance(leaf, str) and "${" in leaf and not re.search(r"codec\.tokenizer$", place):
            raise UserError(f"{place}={shown(leaf)}: a saved config is resolved, it has no ${{...}}")


def leaves(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value that is no list and no mapping, and every key of a mapping, with its place."""
    if depth > _DEEPEST:
        raise UserError(f"{path[:60]}...: nested more than {_DEEPEST} deep")
    if type(value) is dict:
        for key, inner in value.items():
            yield f"a key of {path}", key
            yield from leaves(inner, f"{path}.{key}", depth + 1)
        if not value:
            yield path, None
    elif type(value) is list:
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{place}", depth + 1)
        if not value:
            yield path, None
    else:
        yield path, value


def nodes(value: Any, path: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every mapping, with its place."""
    if isinstance(value, dict):
        yield path, value
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(inner, f"{path}.{step}" if path else str(step))
