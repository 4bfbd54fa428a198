"""BLAS threads: many small matrix products run several times slower when a second core has to be waited for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which matrix products run on the calling thread."""
    return _controller().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    """Finding the BLAS libraries takes 15 ms, so it happens once."""
    return ThreadpoolController()
