"""The base of every command's settings, and how a wrong value becomes one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Len, Lt, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from rsmoe.errors import UserError, unknown_name
from rsmoe.settings.types import Says, Verbatim

PART_WORDS = frozenset(
    "root images_root images_name index metadata class_maps name table images labels label masks before after "
    "sem_before sem_after videos path_prefix instruction prompt response request template pretrained bert instructblip "
    "data path project save_dir vocabulary test_images".split()
)
"""Keys of parts (``data.root``, ``lm.pretrained``) that hold a path or a sentence, whatever the part."""
_NUMBERS = ("losses", "losses_until", "lr_groups", "mix")
"""Mappings of numbers, whose keys are names that somebody chose."""

_TOP = ("train", "evaluate", "predict", "score", "serve")
"""Entry points that are no `rsmoe.commands`."""


class Settings(BaseModel):
    """Keys of one command, or of a mapping in it; the first line of the docstring is what ``--help`` says it does."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    examples: ClassVar[tuple[str, ...]] = ()
    """What one types behind ``python -m``."""
    groups: ClassVar[tuple[str, ...]] = ()
    """Folders of ``conf/`` that the command takes a choice of."""
    module: ClassVar[str] = ""
    """Of the entry point, which is called as the module of the settings."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        name = cls.__module__.rpartition(".")[2]
        cls.module = f"rsmoe.{name}" if name in _TOP else f"rsmoe.commands.{name}"


class OpenSettings(Settings):
    """A mapping whose other keys belong to a part, which checks them itself."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


def settings_of(name: str) -> type[Settings]:
    """The settings of ``conf/<name>.yaml``: class ``ChangeDetection`` of `rsmoe.settings.change_detection`."""
    found: type[Settings] = getattr(import_module(f"rsmoe.settings.{name}"), name.title().replace("_", ""))
    return found


def check(settings: type[Settings], config: Mapping[Any, Any], *, prefix: str = "") -> None:
    """Nothing, where a resolved config is as its settings say.

    Raises:
        UserError: the first value that is not: its key, the value, what is expected.
    """
    try:
        settings.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _explain(settings, config, first, prefix) from None


def check_fields(given: Any, *, where: str = "") -> None:
    """Nothing, where the fields of a dataclass are of their annotated types and in their ranges.

    Args:
        given: of a dataclass, with annotations as those of settings.
        where: what the message begins with.

    Raises:
        UserError: as `check`.
    """
    for name, (annotation, adapter) in _adapters(given.__class__).items():
        value = getattr(given, name)
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            wrong = _wrong(name, value, expected(annotation), error.errors(include_url=False)[0])
            raise UserError(f"{where}{wrong}") from None


def fields_of(settings: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key with what is known of it, keys of mappings behind those that hold them."""
    for name, field in settings.model_fields.items():
        key = prefix + (field.alias or name)
        yield key, field
        inner = mapping_of(field)
        if inner is not None:
            yield from fields_of(inner, f"{key}.")


def verbatim(settings: type[Settings], key: str) -> tuple[Verbatim, bool] | None:
    """How a key's words are taken, and whether ``null`` means none; None for a key that Hydra reads."""
    known = dict(fields_of(settings))
    if key in known:
        kinds = list(_flat(known[key].annotation, known[key].metadata))
        marks = [kind for kind in kinds if isinstance(kind, Verbatim)]
        return (marks[0], NoneType in kinds) if marks else None
    first = key.partition(".")[0]
    above, _, last = key.rpartition(".")
    of_a_part = bool(above) and above.rpartition(".")[2] not in _NUMBERS
    if of_a_part and last in PART_WORDS and (first in settings.groups or first in known):
        return Verbatim(), True
    return None


def expected(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """A type in words: "a whole number from 1 to 64, or null"."""
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        return expected(inner, (*own, *metadata))
    said = [mark.text for mark in metadata if isinstance(mark, Says)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType) and not said:
        parts = [expected(part, metadata) for part in arguments]
        return f"{', '.join(parts[:-1])}, or {parts[-1]}" if len(parts) > 2 else " or ".join(parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
    if origin is list or annotation is list:
        what = said[0] if said else f"a list, each of it {expected(arguments[0])}"
        least, most = _length(metadata)
        return what + (f", {least} of them" if least and least == most else "")
    if said:
        return said[0]
    if annotation is NoneType or annotation is None:
        return "null"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(annotation, "a mapping of keys") + _range(metadata)


def shown(value: Any) -> str:
    """A value as one types it, cut where it is long."""
    try:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = f"(a number of {value.bit_length() * 3 // 10} digits)"
    text = text.replace("'", "") if isinstance(value, list | tuple | dict) else text
    return text if len(text) <= 80 else f"{text[:60]} ... ({len(text)} characters)"


@cache
def _adapters(kind: Any) -> dict[str, tuple[Any, TypeAdapter[Any]]]:
    hints = get_type_hints(kind, include_extras=True)
    options = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return {f.name: (hints[f.name], TypeAdapter(hints[f.name], config=options)) for f in dataclasses.fields(kind)}


def _explain(settings: type[Settings], config: Any, first: Any, prefix: str) -> UserError:
    """From the place of pydantic's error to the key of the command line."""
    model: type[Settings] | None = settings
    path: list[str] = []
    value, field = config, None
    for part in first["loc"]:
        names = {f.alias or n: f for n, f in model.model_fields.items()} if model else {}
        if model is None or part not in names:
            break
        field, value = names[part], value.get(part) if isinstance(value, Mapping) else None
        path.append(str(part))
        model = mapping_of(field)
    key = prefix + ".".join(path)
    if first["type"] == "extra_forbidden" and model is not None:
        within = f"key under {key!r}" if key else "key"
        return unknown_name(within, str(first["loc"][-1]), [f.alias or n for n, f in model.model_fields.items()])
    if first["type"] == "missing":
        return UserError(f"give {key}=...: {expected(field.annotation, tuple(field.metadata))}" if field else key)
    if first["type"] == "value_error" and (field is None or model is not None):  # a relation, which names its keys
        return UserError(str(first["ctx"]["error"]))
    if field is None:
        return UserError(f"expected a mapping of keys, got {shown(config)}")
    return _wrong(key, value, expected(field.annotation, tuple(field.metadata)), first)


def _wrong(key: str, value: Any, what: str, first: Any) -> UserError:
    if first["type"] == "value_error":
        return UserError(f"{key}={shown(value)}: {first['ctx']['error']}")
    return UserError(f"{key}={shown(value)}: expected {what}")


def mapping_of(field: FieldInfo) -> type[Settings] | None:
    """The settings of a field that is a mapping, or null."""
    kinds = [kind for kind in _flat(field.annotation, []) if isinstance(kind, type) and issubclass(kind, Settings)]
    return kinds[0] if kinds else None


def _flat(annotation: Any, metadata: Any) -> Iterator[Any]:
    """Alternatives of a type, and their marks."""
    yield from metadata
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        yield from _flat(inner, own)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _flat(part, [])
    else:
        yield annotation


def _bounds(metadata: tuple[Any, ...]) -> dict[type, Any]:
    return {
        type(mark): getattr(mark, type(mark).__name__.lower())
        for mark in metadata
        if isinstance(mark, Ge | Gt | Le | Lt)
    }


def _range(metadata: tuple[Any, ...]) -> str:
    low = {Ge: " from {}", Gt: " above {}"}
    high = {Le: " to {}", Lt: " below {}"}
    bounds = _bounds(metadata)
    text = "".join(
        words.format(_plain(bounds[kind])) for part in (low, high) for kind, words in part.items() if kind in bounds
    )
    return text.replace(" to ", " up to ") if text.startswith(" to ") else text


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _length(metadata: tuple[Any, ...]) -> tuple[int, int | None]:
    least, most = 0, None
    for mark in metadata:
        if isinstance(mark, Len):
            least, most = mark.min_length, mark.max_length
        elif isinstance(mark, MinLen):
            least = mark.min_length
        elif isinstance(mark, MaxLen):
            most = mark.max_length
    return least, most
