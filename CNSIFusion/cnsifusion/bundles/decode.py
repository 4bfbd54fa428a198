"""Strict conversion of JSON to dataclasses: unknown keys, wrong types and non-finite numbers are refused."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


class DecodeError(ValueError):
    """A JSON value does not fit its declared type; the message names the place, as in ``calibration.slope``."""


def decode(cls: type[T], value: Any, place: str = "") -> T:
    """An instance of the dataclass ``cls`` from the JSON object ``value``; raises DecodeError."""
    if not isinstance(value, dict):
        raise DecodeError(f"{place or 'the file'} must be a JSON object")
    hints = _hints(cls)  # type: ignore[arg-type]
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise DecodeError(f"{_join(place, str(unknown[0])[:60])} is not a known field")
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _decode_value(hints[name], value[name], _join(place, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DecodeError(f"{_join(place, name)} is missing")
    return cls(**arguments)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Each class once: a result has hundreds of small objects, and the panel reads it at every redraw."""
    return typing.get_type_hints(cls)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _decode_value(hint: Any, value: Any, place: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (only,) = [a for a in inner if a is not type(None)]
        return _decode_value(only, value, place)
    if origin is list:
        if not isinstance(value, list):
            raise DecodeError(f"{place} must be a list")
        return [_decode_value(inner[0], v, f"{place}[{i}]") for i, v in enumerate(value)]
    if origin is tuple:
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            raise DecodeError(f"{place} must be a list of the right length")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_decode_value(k, v, f"{place}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))
    if origin is dict:
        if not isinstance(value, dict):
            raise DecodeError(f"{place} must be a JSON object")
        return {str(k): _decode_value(inner[1], v, _join(place, str(k)[:60])) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, place)  # type: ignore[arg-type]
    return _decode_scalar(hint, value, place)


def _decode_scalar(hint: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise DecodeError(f"{place} must be a finite number") from error
        if not math.isfinite(number):
            raise DecodeError(f"{place} must be a finite number")
        return number
    if hint in (str, bool, int) and type(value) is hint:
        return value
    raise DecodeError(f"{place} must be of type {getattr(hint, '__name__', hint)}")
