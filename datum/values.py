"""Values of settings: what a field's type accepts, and what is said of a value that it does not.

Stages (`datum.config`) and installations (`datum.cluster.settings`) keep their settings in dataclasses.
Beside `int`, `str`, `Literal` and the like, a field's type may say more with `Annotated`: the least number,
the table that a name comes from, or that the value changes how the work is done and not its result.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import yaml

from datum.errors import InputError


@dataclasses.dataclass(frozen=True)
class Least:
    """The least value of a number. Without it a whole number counts something and is 1 or more, any other
    number 0 or more."""

    number: int


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The names that a text may be, those of a table."""

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        object.__setattr__(self, "names", tuple(names))


@dataclasses.dataclass(frozen=True)
class Most:
    """The largest value of a number. Without it a whole number is at most `MOST`."""

    number: int


MOST = 10**7
"""Nothing that is counted in a setting (steps, images, pixels of a side) comes near it."""


class WayOfWorking:
    """Marks a setting that does not decide the result (workers, intervals of logs and saved state): it is
    recorded, but another value is no reason to do finished work again."""


class Switchable:
    """Marks a setting that decides the result and may still change in mid-work: unfinished work goes on from
    its saved state, a finished output is one of the value that it ended with."""


class NamesInput:
    """Marks a setting that names an input, whose content decides the result and not its name."""


def marked(settings: type, *marks: type) -> frozenset[str]:
    """Fields of a dataclass of settings that bear one of the `marks`."""
    kinds = typing.get_type_hints(settings, include_extras=True)
    return frozenset(
        key
        for key, kind in kinds.items()
        if any(isinstance(mark, marks) for mark in getattr(kind, "__metadata__", ()))
    )


def parse(text: str, expected: Any) -> Any:
    """What `text` means where the type `expected` is wanted: a text is taken as it is written, a list is one
    of YAML's notation. ValueError, TypeError or a YAMLError where it does not fit."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is Annotated:
        return cast(parse(text, arguments[0]), expected)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in arguments if a is not type(None))
        return None if text.strip().lower() in ("", "null", "~", "none") else parse(text, inner)
    if origin is tuple:
        # The base loader makes texts of all scalars and runs nothing: `no` and 2020-01-01 stay what they are.
        items = yaml.load(text, Loader=yaml.BaseLoader)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise TypeError(text)
        kinds = arguments[:1] * len(items) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(items):
            raise ValueError(text)
        return tuple(parse(item, kind) for item, kind in zip(items, kinds))
    return cast(_SCALARS.get(expected, str)(text), expected)


def _truth(text: str) -> bool:
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[
        text.strip().lower()
    ]


def _number(text: str) -> float:
    # YAML's own spelling of what `require_range` refuses.
    return float(text.strip().lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[Any, Any] = {int: int, float: _number, bool: _truth}


def cast(value: Any, expected: Any) -> Any:
    """`value`, as JSON gives it, as the type `expected`; ValueError or TypeError where it does not
    fit."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is Annotated:
        value = cast(value, arguments[0])
        for names in (mark.names for mark in arguments if isinstance(mark, OneOf)):
            if value not in names:
                raise ValueError(value)
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else cast(value, next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(value)
        return value
    if origin is tuple:
        return _cast_items(value, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise TypeError(value)
        return {key: cast(item, arguments[1]) for key, item in value.items()}
    if expected is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if expected is Any or type(value) is expected:
        return value
    raise TypeError(value)


def _cast_items(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(value)
    if arguments[-1] is Ellipsis:
        return tuple(cast(item, arguments[0]) for item in value)
    if len(value) != len(arguments):
        raise ValueError(value)
    return tuple(cast(item, argument) for item, argument in zip(value, arguments))


def in_words(expected: Any) -> str:
    """What a value of the type `expected` looks like, for a message: `one of fp16, bf16`."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is Annotated:
        for mark in arguments:
            if isinstance(mark, OneOf):
                return "one of " + ", ".join(name or "''" for name in mark.names)
            if isinstance(mark, Least) and arguments[0] is int:
                return f"a whole number from {mark.number}"
        return in_words(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(str(value) or "''" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return f"{in_words(arguments[0])}, or null"
    if origin is tuple:
        if typing.get_origin(arguments[0]) is not None:
            return "a JSON list of objects"
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {count}{_PLURALS[arguments[0]]}"
    if origin is not None:
        return "a JSON object of strings"
    return _NOUNS[expected]


_NOUNS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def require_range(where: str, value: Any, expected: Any) -> None:
    """Raises `InputError`, which begins with `where`, for a number outside of what the type `expected`
    allows: too small, too large, or not finite."""
    marks = expected.__metadata__ if typing.get_origin(expected) is Annotated else ()
    stated = next((mark.number for mark in marks if isinstance(mark, Least)), None)
    most = next((mark.number for mark in marks if isinstance(mark, Most)), MOST)
    for number in value if isinstance(value, tuple) else (value,):
        least = int(type(number) is int) if stated is None else stated
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if isinstance(number, float) and not math.isfinite(number):
            raise InputError(f"{where}: expected a finite number")
        if number < least:
            raise InputError(f"{where}: expected {least} or more")
        if number > most:
            raise InputError(f"{where}: expected {most} or less")


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "known:") -> str:
    """`did you mean X?` for the nearest of the `known` names; where none is near, all after `otherwise`."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"{otherwise} {', '.join(names)}"


def require_known(name: str, known: Iterable[str], where: str, kind: str) -> None:
    """Raises `InputError` for a `name` that is none of the `known` ones."""
    names = list(known)
    if name not in names:
        raise InputError(f"{where}: unknown {kind} {name!r}; {did_you_mean(name, names)}")


@functools.cache
def docstrings(settings: type) -> Mapping[str, str]:
    """The docstring beneath every field of a dataclass, those of its bases first."""
    texts: dict[str, str] = {}
    for one in reversed([base for base in settings.__mro__ if dataclasses.is_dataclass(base)]):
        body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(one)).body[0]).body
        for statement, following in zip(body, body[1:]):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                name = typing.cast(ast.Name, statement.target).id
                texts[name] = " ".join(str(typing.cast(ast.Constant, following.value).value).split())
    return texts
