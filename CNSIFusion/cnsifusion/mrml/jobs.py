"""One job at a time for the image in front: prepared in a thread, run by the engine in its child process.

The check of a new image starts by itself, so that nothing the reader clicks is refused for it: the click waits until
the check has ended, and the check of the next image until the cancelled job of the former one has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnsifusion.errors import BadInput, failure, raise_unexpected
from cnsifusion.mrml import child
from cnsifusion.mrml.case import CaseState

if TYPE_CHECKING:
    from cnsifusion.mrml.session import Session

CHECK, PROPOSE, ANALYZE = "check", "propose", "analyze"
_TIME_LIMIT_SECONDS = 1800.0


@dataclass
class Job:
    """A running job of one case: its kind, its folder and the last progress event of the engine."""

    kind: str
    case: CaseState
    folder: Path
    progress: dict = field(default_factory=dict)
    cancelled: bool = False
    analyzedRegions: str = ""
    analyzedImage: str = ""


class Jobs:
    """The running job of a session, None where nothing runs, and what waits for its end."""

    def __init__(self, session: Session):
        self._session = session
        self.engine = child.Engine()
        self.running: Job | None = None
        self._afterCheck: Callable[[], None] | None = None
        self._next: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs that the reader asked for (the check of a new image runs by itself)."""
        return self.running is not None and (self.running.kind != CHECK or self._afterCheck is not None)

    def start(self, kind: str, prepare: Callable[[Path], dict], onDone: Callable[[child.End], None]) -> None:
        """Run a job on the case in front: ``prepare`` makes its request in a thread, given the job's own folder.

        ``onDone`` gets the end and calls :meth:`end`. Raises BadInput when a job is running.
        """
        case = self._session.required()
        if self.running is not None:
            raise BadInput("Another job is running; wait for it or cancel it.")
        folder = self._session.newFolder()
        self.running = Job(kind, case, folder, {"name": "Hand over the image", "fraction": 0.0})
        case.message = {}
        self._inThread(
            lambda: prepare(folder),
            lambda job, request: self.engine.submit(request, self._onProgress, onDone, _TIME_LIMIT_SECONDS),
        )
        self._session.onChange()

    def runs(self, kind: str) -> bool:
        """Whether such a job runs already: the second of two quick clicks asks for nothing more."""
        return self.running is not None and self.running.kind == kind and not self.running.cancelled

    def putOff(self, action: Callable[[], None]) -> bool:
        """Put an action off until the running check of a new image has ended; False when there is none."""
        if self.running is None or self.running.kind != CHECK or self._afterCheck not in (None, action):
            return False
        self._afterCheck = action
        self._session.onChange()
        return True

    def whenFree(self, action: Callable[[], None]) -> None:
        """Do this now; where a job runs (the cancelled one of the former image), right after it."""
        if self.running is None:
            action()
        else:
            self._next = action

    def leave(self, volumeNode) -> None:
        """Another volume (None: none) comes to the front: cancel the job of the former one and what waits for it."""
        self._next = None
        if self.running is not None and (volumeNode is None or self.running.case.volume is not volumeNode):
            self.cancel()
            self._afterCheck = None

    def cancel(self) -> None:
        """Stop the running job; it ends as "cancelled" with a later poll."""
        if self.running is not None:
            self.running.cancelled = True
            self.engine.cancel()

    def readThen(self, end: child.End, read: Callable, show: Callable) -> None:
        """Read what the job wrote in a thread, show it (``show(job, what was read)``), and end the job."""

        def then(job: Job, found) -> None:
            if job.case.scene is None or job.case.volume is None:
                self.end(child.End(child.FAILED, "The image was removed while the job ran; its result was dropped."))
            else:
                self._session.showing(lambda: show(job, found))
                self.end(end)

        self._inThread(read, then)

    def end(self, end: child.End, words: str = "") -> None:
        """Close the running job; ``words`` are for the reader when all went well."""
        job, self.running = self.running, None
        waiting, self._next = self._next, None
        following = self._afterCheck
        if waiting is None:
            self._afterCheck = None
        if job.case.scene is not None and end.state != child.DONE:
            level = "info" if end.state == child.CANCELLED else "error"
            job.case.message = {"level": level, "text": end.message, "state": end.state}
        elif job.case.scene is not None and words:
            job.case.message = {"level": "info", "text": words}
        if job.folder not in [report.parents[1] for report in self._session.reports.values()]:
            shutil.rmtree(job.folder, ignore_errors=True)
        self.engine.warm()
        if waiting is not None:
            waiting()
        elif following is not None and end.state == child.DONE and not job.cancelled:
            following()
        self._session.onChange()

    def abandon(self) -> None:
        """Kill what runs without a word: its scene is closed."""
        self.engine.close()
        self.running = self._afterCheck = self._next = None

    def _inThread(self, work: Callable, then: Callable[[Job, Any], object]) -> None:
        """Do a part of the running job's work in a thread; ``then`` gets job and outcome, unless it ended meanwhile."""
        job = self.running

        def arrived(ready: Future) -> None:
            if job is None or self.running is not job:
                return
            if job.cancelled:
                self.end(child.End(child.CANCELLED, "Cancelled."))
            elif error := ready.exception():
                self.end(child.End(child.FAILED, str(failure(error))))
                raise_unexpected(error)
            else:
                then(job, ready.result())

        self._session.background.later(work, arrived)

    def _onProgress(self, event: dict) -> None:
        self.running.progress = event
        self._session.onChange()
