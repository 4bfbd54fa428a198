"""Progress of a run with known steps: which one, how far, how many seconds are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

#: The analysis' steps and their typical seconds on 2 cores: only the shares matter, for the bar and the estimate.
READ, LOCATE, PREPARE, PROPOSE = ("Read the image", 0.3), ("Check and locate the anatomy", 3.0), (
    "Prepare the image", 2.0), ("Propose regions", 1.0)  # fmt: skip
FEATURES, NETWORK, EXPLAIN, REPORT = ("Compute radiomics", 0.3), ("Run the network", 0.5), (
    "Explain the result", 0.3), ("Write the report", 1.5)  # fmt: skip
ANALYSIS_STEPS = (READ, LOCATE, PREPARE, PROPOSE, FEATURES, NETWORK, EXPLAIN, REPORT)
PROPOSAL_STEPS = (READ, LOCATE, PREPARE, PROPOSE)


class StepProgress:
    """Call it with a step's name when that step begins; ``done()`` at the end. Steps may be skipped (cached).

    ``emit`` receives dicts {"event": "progress", "step", "steps", "name", "fraction", "seconds_left"}; ``seconds``
    collects what each step took.
    """

    def __init__(self, steps: Sequence[tuple[str, float]], emit: Callable[[dict], None]) -> None:
        self._names = [name for name, _ in steps]
        self._typical = [typical for _, typical in steps]
        self._emit = emit
        self._start = self._step_start = time.monotonic()
        self._current: str | None = None
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        self._close()
        index = self._names.index(name)
        before, total = sum(self._typical[:index]), sum(self._typical)
        elapsed = time.monotonic() - self._start
        # The machine's speed so far, relative to the typical one; the first steps say too little to trust it alone.
        speed = (elapsed + 1.0) / (before + 1.0)
        self._emit({
            "event": "progress", "step": index + 1, "steps": len(self._names), "name": name,
            "fraction": round(before / total, 3), "seconds_left": round((total - before) * speed, 1),
        })  # fmt: skip
        self._current, self._step_start = name, time.monotonic()

    def done(self) -> None:
        """Close the last step."""
        self._close()
        self._current = None

    def _close(self) -> None:
        if self._current is not None:
            self.seconds[self._current] = round(time.monotonic() - self._step_start, 3)
