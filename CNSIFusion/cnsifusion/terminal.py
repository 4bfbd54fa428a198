"""What a command says: progress and last words, as JSON lines for a program or as a bar and sentences for a person."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable

from cnsifusion.errors import error_event, failure

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """Takes the events of a command. ``jsonl``: each is a line on stdout; otherwise a bar on a terminal's stderr."""

    def __init__(self, jsonl: bool) -> None:
        self._jsonl = jsonl
        self._on_bar = False

    def __call__(self, event: dict) -> None:
        if self._jsonl:
            print(json.dumps(event), flush=True)
        elif event["event"] == "progress" and sys.stderr.isatty():
            filled = round(30 * event["fraction"])
            text = f"[{'#' * filled}{'.' * (30 - filled)}] {event['name']} ..."
            print(f"\r{text:<100}", end="", file=sys.stderr, flush=True)
            self._on_bar = True

    def done(self, event: dict, *sentences: str) -> None:
        """The last words of a command: a "done" event for a program, sentences on stdout for a person."""
        if self._jsonl:
            self({"event": "done", **event})
            return
        self._leave_bar()
        for sentence in sentences:
            print(_shown(sentence))

    def failed(self, error: BaseException) -> None:
        """Why there are no last words: one sentence on stderr, for a program an "error" event before it."""
        if self._jsonl:
            self(error_event(error))
        self._leave_bar()
        print(_shown(f"cnsifusion: {failure(error)}"), file=sys.stderr)

    def _leave_bar(self) -> None:
        if self._on_bar:
            print(file=sys.stderr)
        self._on_bar = False


def _shown(text: str) -> str:
    """What a terminal may be told: no control characters, by which a stranger's bundle or file could steer it."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def counted(emit: Callable[[dict], None]) -> Callable[[int, int, str], None]:
    """Progress of counted tasks (done, total, name of the step) as events, with the time left at this step's pace."""
    begun: dict[str, tuple[float, int]] = {}

    def report(done: int, total: int, name: str) -> None:
        start, first = begun.setdefault(name, (time.monotonic(), done))
        pace = (time.monotonic() - start) / (done - first) if done > first else None
        emit({
            "event": "progress", "step": done, "steps": total, "name": name,
            "fraction": round(done / total, 4) if total else 1.0,
            "seconds_left": None if pace is None else round(pace * (total - done), 1),
        })  # fmt: skip

    return report


def silence_libraries() -> None:
    """Native image libraries print file names and matrices to the process' stderr; what the user reads is ours.

    And what a terminal or pipe has no letters for must not end a command after its work.
    """
    if sys.stderr is not sys.__stderr__ or sys.stderr is None:
        return  # called by another Python program, which owns its stderr
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    own = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8", errors="replace")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, sys.stderr.fileno())
    os.close(silent)
    sys.stderr = own
