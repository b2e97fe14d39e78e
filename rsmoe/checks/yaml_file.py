"""YAML files, checked against limits of size, depth and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rsmoe.errors import UserError

BYTES, DEPTH, NODES, DIGITS = 1 << 20, 50, 100_000, 4000
"""Most that a file may hold: bytes, levels, values once its aliases are written out, digits of a number."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml(path: Path) -> None:
    """Nothing, where a file is a mapping, or empty, that can be read in a moment.

    Raises:
        UserError: not UTF-8, no YAML, no mapping, a key twice, aliases that grow without end, or over a limit above.
    """
    try:
        if path.stat().st_size > BYTES:
            raise UserError(f"{path} is larger than {BYTES >> 20} MiB, which no config is")
        text = path.read_bytes().decode("utf-8-sig")
        _check_depth(path, text)
        root = yaml.compose(text, Loader=_Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place} is no YAML: {getattr(error, 'problem', None) or error}") from error
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path} is no mapping: expected lines of key: value")
    if _size(root, path, {}) > NODES:
        raise UserError(f"{path} has more than {NODES:,} values once its aliases (*name) are written out")


def _check_depth(path: Path, text: str) -> None:
    """Before nodes are built, which takes a level of Python's stack for each level of the file."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise UserError(f"{path}, line {event.start_mark.line + 1}: deeper than {DEPTH} levels")


def _size(node: yaml.Node, path: Path, known: dict[int, int]) -> int:
    """Values of a node with its aliases written out; each node is counted once, so that a bomb is counted at once."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise UserError(f"{path}, line {node.start_mark.line + 1}: an alias (*name) that holds itself")
        return known[id(node)]
    known[id(node)] = -1
    total = 1
    if isinstance(node, yaml.MappingNode):
        names = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{path}, line {key.start_mark.line + 1}: a key that is no word")
            if key.value in names and key.value != "<<":
                raise UserError(f"{path}, line {key.start_mark.line + 1}: the key {key.value!r} is there twice")
            names.add(key.value)
        total += sum(_size(part, path, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_size(part, path, known) for part in node.value)
    elif node.tag.endswith(":int") and len(node.value) > DIGITS:
        raise UserError(f"{path}, line {node.start_mark.line + 1}: a number of more than {DIGITS} digits")
    known[id(node)] = total
    return total
