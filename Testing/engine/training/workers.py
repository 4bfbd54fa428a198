"""Tasks of a run whose workers are killed, as when memory runs out. Alone in this file: a worker imports it."""

from __future__ import annotations

import os
import time
from pathlib import Path


def die(path: str) -> None:
    """Be killed."""
    os.kill(os.getpid(), 9)


def die_once(path: str) -> str:
    """The last of five tasks dies the first time, when the run has the results of the others ("kept" beside it)."""
    folder = Path(path).parent
    if path.endswith("4") and not (folder / "died").exists():
        while not (folder / "kept").read_text():
            time.sleep(0.05)
        (folder / "died").write_text("")
        die(path)
    return path
