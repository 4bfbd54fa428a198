"""Do the fields of a settings' class hold what they say? A JSON file may hold "false" for false, or 1.5 for 1."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral, Real
from typing import Any

_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


def misfits(settings: Any) -> list[str]:
    """For every field of the dataclass that its plain type (bool, int, float, str; ``| None``; tuples of them) does not
    allow, what it must be. Fields of other types are passed over.
    """
    return [
        f"{field.name} must be {'a list, each ' * kind.startswith('tuple[')}{_WORDS[plain]}"
        for field in dataclasses.fields(settings)
        if (plain := _plain(kind := str(field.type))) in _WORDS and not _fits(kind, getattr(settings, field.name))
    ]


def _plain(kind: str) -> str:
    return kind.removesuffix(" | None").removeprefix("tuple[").removesuffix(", ...]")


def _fits(kind: str, value: Any) -> bool:
    if kind.startswith("tuple["):
        return isinstance(value, (tuple, list)) and all(_fits(_plain(kind), v) for v in value)
    if value is None:
        return kind.endswith(" | None")
    if kind.startswith(("bool", "str")):
        return isinstance(value, bool if kind.startswith("bool") else str)
    wanted = Integral if kind.startswith("int") else Real
    return isinstance(value, wanted) and not isinstance(value, bool) and math.isfinite(value)
