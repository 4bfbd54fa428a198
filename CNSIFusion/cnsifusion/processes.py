"""Processes that work for another one: they must not outlive it."""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache

_LOOK_SECONDS = 1.0


@lru_cache(maxsize=1)
def end_with(parent: int) -> None:
    """Have this process end soon after the process numbered ``parent``, which started it and may be killed.

    A killed parent tells nobody, and those that wait for its next task would wait for minutes. On Windows, where a
    process keeps the number of a dead parent, they do.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
