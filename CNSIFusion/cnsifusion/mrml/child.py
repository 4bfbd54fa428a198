"""The engine in a child process, for both faces: start, progress, cancel, and exactly one end.

No Qt and no threads that touch a face: reader threads only fill a queue, and the face calls ``poll()`` from its own
timer (QTimer, asyncio). Contract with the child: JSON lines on stdout, logs on stderr, documented exit codes.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
CRASHED, OUT_OF_MEMORY, TIMED_OUT = "crashed", "out-of-memory", "timed-out"

_EXIT_OUT_OF_MEMORY, _EXIT_CANCELLED = 4, 5
_SECONDS_TO_TERMINATE = 0.15  # what it writes is whole or absent at any moment, so little is gained by waiting
_SECONDS_TO_DRAIN = 1.0
_LOG_LINES = 200
#: Windows' NTSTATUS for "not enough quota / no memory".
_WINDOWS_NO_MEMORY = {0xC0000017, 0xC000012D}

ENGINE_FOLDER = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class End:
    """How a job ended: ``state`` is one of this module's constants, ``message`` one sentence for the user."""

    state: str
    message: str
    event: dict = field(default_factory=dict)
    log: str = ""


def pythonExecutable() -> str:
    """The interpreter for child processes: PythonSlicer beside the Slicer application, else this one."""
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    home = os.environ.get("SLICER_HOME", "")
    candidates = [Path(home) / "bin" / name] if home else []
    candidates.append(Path(sys.executable).with_name(name))
    return next((str(path) for path in candidates if path.is_file()), sys.executable)


def engineCommand(*arguments: str) -> list[str]:
    """The command line that runs ``cnsifusion ARGUMENTS`` from this very engine's folder."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return [pythonExecutable(), "-c", code, ENGINE_FOLDER, *arguments]


class Process:
    """One child process and its whole tree. ``poll()`` delivers what it said; nothing here blocks but :meth:`close`.

    ``onEvent(dict)`` is called for each JSON line of stdout, ``onExit(returnCode)`` exactly once and last.
    """

    def __init__(self, command: Sequence[str], onEvent: Callable[[dict], None], onExit: Callable[[int], None]):
        self._onEvent, self._onExit = onEvent, onExit
        self._lines: queue.SimpleQueue[dict] = queue.SimpleQueue()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._killAt: float | None = None
        self._exitedAt: float | None = None
        self._ended = False
        environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
        group = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
            if os.name == "nt"
            else {"start_new_session": True}
        )
        self._popen = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment,
            **group,
        )
        self._readers = [
            threading.Thread(target=self._readEvents, daemon=True),
            threading.Thread(target=self._readLog, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The child's process id (on POSIX also its group's)."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the end has not been delivered yet."""
        return not self._ended

    @property
    def log(self) -> str:
        """The last lines the child wrote to stderr (and what was not JSON on stdout)."""
        return "\n".join(self._log)

    def send(self, request: dict) -> None:
        """Write one JSON line to the child; silently lost if it is gone (its exit is reported by poll)."""
        try:
            self._popen.stdin.write(json.dumps(request) + "\n")
            self._popen.stdin.flush()
        except OSError:
            self._log.append("the child process closed its input")

    def terminate(self) -> None:
        """Ask the whole tree to stop; :meth:`poll` kills what is left after a short while."""
        if self._killAt is None and self._popen.poll() is None:
            self._killAt = time.monotonic() + _SECONDS_TO_TERMINATE
            self._signalTree(force=False)

    def poll(self) -> None:
        """Deliver pending events, and the exit once the child is gone and everything it said was delivered."""
        if self._ended:
            return
        finished = self._finished()
        while not self._ended:
            try:
                event = self._lines.get_nowait()
            except queue.Empty:
                break
            self._onEvent(event)
        if finished and not self._ended:
            self._ended = True
            self._signalTree(force=True)
            self._onExit(self._popen.returncode)

    def close(self) -> None:
        """Kill the tree now and report nothing more (the scene or the application is going away)."""
        self._ended = True
        self._signalTree(force=True)
        self._popen.wait()

    def _finished(self) -> bool:
        if self._popen.poll() is None:
            if self._killAt is not None and time.monotonic() >= self._killAt:
                self._signalTree(force=True)
            return False
        if not any(reader.is_alive() for reader in self._readers):
            return True
        # A grandchild may hold the pipes open after the child is gone: do not wait for it for ever.
        self._exitedAt = self._exitedAt or time.monotonic()
        return time.monotonic() - self._exitedAt > _SECONDS_TO_DRAIN

    def _signalTree(self, force: bool) -> None:
        if os.name == "nt":
            if self._popen.poll() is None:
                subprocess.run(
                    ["taskkill", "/T", "/F", "/PID", str(self.pid)],
                    capture_output=True,
                    check=False,
                    creationflags=subprocess.CREATE_NO_WINDOW,  # type: ignore[attr-defined]
                )
            return
        try:
            os.killpg(self.pid, signal.SIGKILL if force else signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            return  # the group is empty already

    def _readEvents(self) -> None:
        for line in self._popen.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                self._lines.put(event)
            else:
                self._log.append(line.rstrip())

    def _readLog(self) -> None:
        for line in self._popen.stderr:
            self._log.append(line.rstrip())


class Engine:
    """The warm worker of one face: one job at a time, each with exactly one end.

    ``warm()`` starts the process ahead of time, so that the first job need not wait for imports. A cancelled or broken
    job takes the process with it; the next one starts a new process.
    """

    def __init__(self, command: Sequence[str] | None = None):
        self._command = list(command) if command else engineCommand("worker")
        self._process: Process | None = None
        self._jobs = 0
        self._job: _Job | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None where there is none."""
        return self._process.pid if self._process else None

    def warm(self) -> None:
        """Start the worker if there is none."""
        if self._process is None:
            self._process = Process(self._command, self._onEvent, self._onExit)

    def submit(
        self,
        request: dict,
        onProgress: Callable[[dict], None],
        onEnd: Callable[[End], None],
        timeoutSeconds: float | None = None,
    ) -> None:
        """Run one request (``{"command": "analyze", ...}``); RuntimeError when a job is running already."""
        if self._job is not None:
            raise RuntimeError("a job is running")
        self._jobs += 1
        deadline = None if timeoutSeconds is None else time.monotonic() + timeoutSeconds
        self._job = _Job(str(self._jobs), onProgress, onEnd, deadline)
        self.warm()
        self._process.send({"id": self._job.id, **request})

    def cancel(self) -> None:
        """Stop the running job and its whole process tree; its end ("cancelled") comes with a later poll."""
        self._stop(CANCELLED)

    def poll(self) -> None:
        """Deliver progress and ends; call it some 20 times a second."""
        job = self._job
        if job is not None and job.deadline is not None and time.monotonic() > job.deadline:
            self._stop(TIMED_OUT)
        if self._process is not None:
            self._process.poll()

    def close(self) -> None:
        """Kill everything at once, without further callbacks."""
        self._job = None
        if self._process is not None:
            self._process.close()
            self._process = None

    def _stop(self, state: str) -> None:
        if self._job is not None and self._job.stopping is None:
            self._job.stopping = state
            self._process.terminate()

    def _onEvent(self, event: dict) -> None:
        job = self._job
        if job is None or event.get("id") != job.id:
            return
        if event.get("event") == "progress":
            job.onProgress(event)
        elif job.stopping is None and event.get("event") in ("done", "error"):
            self._finish(_endFromEvent(event, self._process.log))

    def _onExit(self, returnCode: int) -> None:
        log, self._process = self._process.log, None
        if self._job is not None:
            self._finish(endFromExit(self._job.stopping, returnCode, log))

    def _finish(self, end: End) -> None:
        job, self._job = self._job, None
        job.onEnd(end)


@dataclass
class _Job:
    id: str
    onProgress: Callable[[dict], None]
    onEnd: Callable[[End], None]
    deadline: float | None
    stopping: str | None = None


def _endFromEvent(event: dict, log: str) -> End:
    if event["event"] == "done":
        return End(DONE, "", event, log)
    code = event.get("exit_code")
    state = {_EXIT_OUT_OF_MEMORY: OUT_OF_MEMORY, _EXIT_CANCELLED: CANCELLED}.get(code or 0, FAILED)
    return End(state, event.get("message", ""), event, log)


def endFromExit(stopping: str | None, returnCode: int, log: str) -> End:
    """The end of a job whose process went away before it answered; ``stopping`` is why we stopped it, if we did."""
    if stopping == CANCELLED:
        return End(CANCELLED, "Cancelled.", log=log)
    if stopping == TIMED_OUT:
        return End(TIMED_OUT, "Stopped: it took longer than the time limit.", log=log)
    killedForMemory = os.name != "nt" and returnCode == -signal.SIGKILL
    if returnCode == _EXIT_OUT_OF_MEMORY or killedForMemory or returnCode & 0xFFFFFFFF in _WINDOWS_NO_MEMORY:
        message = "The computer ran out of memory; close other programs and try again."
        return End(OUT_OF_MEMORY, message, log=log)
    message = f"The analysis program stopped unexpectedly (code {returnCode}); the log says more."
    return End(CRASHED, message, log=log)
