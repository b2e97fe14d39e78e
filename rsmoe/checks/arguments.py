"""Arguments of a part held against the annotations of its constructor, before it is called."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, PydanticUserError, Strict, TypeAdapter, ValidationError

from rsmoe.errors import UserError, shown, unknown_name

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_unicode": "text without surrogates",
    "bool_type": "true or false",
    "none_required": "null",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "mapping_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "sequence_str": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} at most",
    "literal_error": "{expected}",
    "too_short": "{min_length} or more values",
    "too_long": "{max_length} values at most",
    "extra_forbidden": "no such key",
    "missing": "its key {name}",
}
"""Kind of pydantic's error -> what the reader is told to give."""


def check_arguments(
    part: Callable[..., Any], given: Mapping[str, Any], *, key: str, whole: bool = True, named: Collection[str] = ()
) -> None:
    """Raises `UserError` for the first argument that ``part`` does not take.

    Types are strict: "2" and 2.0 are no int and true is no number, but an int is a float. Every float is finite.

    Args:
        part: a class or function with annotations; a parameter without one takes anything.
        given: arguments by name, as a config has them.
        key: of the part in the configuration, "vision": errors then speak of ``vision.width=...``; "" for none.
        whole: whether arguments without default must all be there.
        named: arguments of which only the name is checked, for a part that is yet to be built will be their value.
    """
    parameters, adapters = _adapters(part)
    for name, value in given.items():
        own = f"{key}.{name}" if key else name
        if name not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            kind = f"key of {key}" if key else "argument"
            raise unknown_name(f"{kind} ({_name(part)} does not take it)", str(name), parameters)
        if name in named:
            continue
        if name in adapters:
            try:
                adapters[name].validate_python(value)
            except ValidationError as error:
                raise explained(own, value, error) from None
        for path, number in _numbers(value):
            if not math.isfinite(number):
                raise UserError(f"{own}{path}={number}: expected a finite number")
    if whole:
        required = [n for n, p in parameters.items() if p.default is p.empty and p.kind not in _VARIADIC]
        if missing := [n for n in required if n not in given]:
            raise UserError(f"{_name(part)} needs {', '.join(f'{key}.{n}' if key else n for n in missing)}")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@cache
def _adapters(part: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, TypeAdapter[Any]]]:
    """Parameters of a callable, and what holds a value against the annotation of each."""
    try:
        parameters = dict(inspect.signature(part).parameters)
    except (TypeError, ValueError):  # of a C extension: it checks for itself
        return {"": inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)}, {}
    hints = _hints(part, parameters)
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, parameter in parameters.items():
        if name in hints and parameter.kind not in _VARIADIC:
            with suppress(PydanticUserError):  # no schema for this type: the part checks it
                adapter = TypeAdapter(_of_yaml(hints[name]), config=_STRICT)
                if adapter.pydantic_complete:
                    adapters[name] = adapter
    return parameters, adapters


def _hints(part: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> Mapping[str, Any]:
    try:
        return get_type_hints(part.__init__ if isinstance(part, type) else part, include_extras=True)  # type: ignore[misc]
    except Exception:  # a name that only type checkers import: what is no string is known all the same
        given = {name: p.annotation for name, p in parameters.items()}
        return {name: hint for name, hint in given.items() if not isinstance(hint, str) and hint is not inspect._empty}


def _of_yaml(hint: Any) -> Any:
    """The same type, in which a list is taken for a tuple: yaml has no tuples."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_of_yaml(inner[0]), *inner[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(_of_yaml(each) for each in inner)]  # noqa: UP007  # of as many as there are
    return Annotated[hint, Strict(False)] if origin is tuple else hint


def explained(key: str, value: Any, error: ValidationError) -> UserError:
    """The deepest place that pydantic finds wrong in ``value``, and what each alternative of a union takes there."""
    found: dict[tuple[Any, ...], tuple[Any, list[str]]] = {}
    for each in error.errors(include_url=False, include_input=False):
        inner: Any = value
        path: tuple[Any, ...] = ()
        for step in each["loc"]:  # names of a union's alternatives stand between the steps
            inside = isinstance(inner, Mapping) and step in inner
            if inside or isinstance(inner, list | tuple) and isinstance(step, int) and step < len(inner):
                inner, path = inner[step], (*path, step)
        known = _EXPECTED.get(each["type"])
        told = known.format(name="".join(map(str, each["loc"][-1:])), **each.get("ctx", {})) if known else _plain(each)
        found.setdefault(path, (inner, []))[1].append(told)
    path = max(found, key=len)
    inner, expected = found[path]
    place = ".".join(map(str, [*([key] if key else []), *path]))
    return UserError(f"{place}={shown(inner)}: expected {' or '.join(dict.fromkeys(expected))}")


def _plain(error: Any) -> str:
    if error["type"] == "is_instance_of":
        return {"Sequence": "a list", "Mapping": "a mapping"}.get(error["ctx"]["class"], f"a {error['ctx']['class']}")
    return str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _numbers(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Every float in plain containers, with its place."""
    if isinstance(value, float):
        yield path, value
    elif depth < 20 and isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for step, inner in pairs:
            yield from _numbers(inner, f"{path}.{step}", depth + 1)


def _name(part: Any) -> str:
    return str(getattr(part, "__name__", part))
