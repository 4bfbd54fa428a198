"""Progress of a run with known steps: which one, how far, how many seconds are left as far as earlier runs tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from cnsifusion.roi import case

#: The analysis' steps and their typical seconds on 2 cores, for the first run of a kind.
READ, LOCATE, PREPARE, PROPOSE = ("Read the image", 0.3), (case.LOCATE, 3.5), (case.PREPARE, 1.5), (case.PROPOSE, 1.5)
FEATURES, NETWORK, EXPLAIN, REPORT = ("Compute radiomics", 0.1), ("Run the network", 0.2), (
    "Explain the result", 0.3), ("Write the report", 0.4)  # fmt: skip
ANALYSIS_STEPS = (READ, LOCATE, PREPARE, PROPOSE, FEATURES, NETWORK, EXPLAIN, REPORT)
PROPOSAL_STEPS = (READ, LOCATE, PROPOSE)
#: Not done again for a head that was worked on a moment ago.
_REMEMBERED = (LOCATE[0], PREPARE[0])


class StepProgress:
    """Call it with a step's name when that step begins; ``done()`` at the end. Steps may be skipped (cached).

    ``expected`` are the seconds each step is thought to take (by name; 0: it will be skipped), typical ones where it
    says nothing. ``emit`` receives dicts {"event": "progress", "step", "steps", "name", "fraction", "seconds_left"};
    ``seconds`` collects what each step took.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, float]],
        emit: Callable[[dict], None],
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self._names = [name for name, _ in steps]
        self._typical = [typical for _, typical in steps]
        self._expected = [{**dict(steps), **(expected or {})}[name] for name in self._names]
        self._emit = emit
        self._start = self._step_start = time.monotonic()
        self._current: str | None = None
        self._fraction = 0.0
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        self._close()
        index = self._names.index(name)
        if not self._expected[index]:  # this head was not known after all
            self._expected = [e or t for e, t in zip(self._expected, self._typical)]
        before, total = sum(self._expected[:index]), sum(self._expected)
        elapsed = time.monotonic() - self._start
        # The machine's speed so far, relative to what was expected; the first steps say too little to trust it alone.
        speed = (elapsed + 1.0) / (before + 1.0)
        self._fraction = max(self._fraction, before / total)
        self._emit({
            "event": "progress", "step": index + 1, "steps": len(self._names), "name": name,
            "fraction": round(self._fraction, 3), "seconds_left": round((total - before) * speed, 1),
        })  # fmt: skip
        self._current, self._step_start = name, time.monotonic()

    def done(self) -> None:
        """Close the last step."""
        self._close()
        self._current = None

    def _close(self) -> None:
        if self._current is not None:
            self.seconds[self._current] = round(time.monotonic() - self._step_start, 3)


class Pace:
    """How long the steps took the last time, to tell how long they will take: by kind of run (what is done with which
    model), and whether the head had been worked on before.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[Hashable, bool], dict[str, float]] = {}
        self._done: dict[Hashable, set[str]] = {}

    def expected(self, kind: Hashable, image: str | Path) -> dict[str, float]:
        """Seconds of the steps that are known, 0 for those that this head need not go through again."""
        done = self._done.get(_looks(image), set())
        again = self._seconds.get((kind, True), {}) if done else {}
        return {**self._seconds.get((kind, False), {}), **again, **dict.fromkeys(done, 0.0)}

    def remember(self, kind: Hashable, image: str | Path, seconds: Mapping[str, float]) -> None:
        """A run of this kind ended well, and these were its steps."""
        done = self._done.setdefault(_looks(image), set())
        self._seconds.setdefault((kind, bool(done)), {}).update(seconds)
        done.update(name for name in seconds if name in _REMEMBERED)


def _looks(image: str | Path) -> Hashable:
    """What tells images apart at a glance: good enough for an estimate, before anything was read."""
    path = Path(image)
    try:
        return str(path) if path.is_dir() else (path.suffix, path.stat().st_size)
    except (OSError, ValueError):
        return str(path)  # reading it says what is wrong
