"""Two pieces of work at the same time: numpy, scipy and zlib let go of the interpreter while they compute."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_One = TypeVar("_One")
_Other = TypeVar("_Other")


def both(one: Callable[[], _One], other: Callable[[], _Other]) -> tuple[_One, _Other]:
    """What two calls return that do not depend on each other, done on two cores; raises what either raises.

    Neither splits a sum, so the results are the same bits as one after the other.
    """
    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(other)
        first = one()
        return first, second.result()
