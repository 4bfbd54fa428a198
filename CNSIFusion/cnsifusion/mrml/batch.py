"""Many patients in a child process of their own: nothing of them enters the scene, so nothing can be mixed there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnsifusion.analysis.batch import Patient, write_list
from cnsifusion.errors import BadInput
from cnsifusion.mrml import child


@dataclass(frozen=True)
class BatchView:
    """What a face shows of the batch: a sentence, its progress while it runs, afterwards the table."""

    running: bool = False
    progress: dict = field(default_factory=dict)
    text: str = ""
    level: str = "info"
    table: str = ""


class Batch:
    """One batch at a time. A run over the same output folder goes on where an earlier one stopped."""

    def __init__(self, newFolder: Callable[[], Path], onChange: Callable[[], None]):
        self._newFolder, self._onChange = newFolder, onChange
        self._engine = child.Engine()
        self._out: Path | None = None
        self.view = BatchView()

    def start(self, source: Path | Sequence[Patient], out: Path, bundle: Path) -> None:
        """Analyze every image below the folder ``source``, or every patient of a list, into the folder ``out``.

        Raises BadInput when a batch is running or a folder is missing.
        """
        if self.view.running:
            raise BadInput("Another batch is running; wait for it or cancel it.")
        if isinstance(source, Path):
            if not source.is_dir():
                raise BadInput("There is no folder of images at the path given.")
        else:
            patients, source = source, self._newFolder() / "patients.json"
            write_list(patients, source)
        self._out = out
        self.view = BatchView(True, text="Looking for images…")
        request = {"command": "batch", "image": str(source), "out": str(out), "bundle": str(bundle)}
        self._engine.submit(request, self._onProgress, self._onEnd)
        self._onChange()

    def cancel(self) -> None:
        """Stop; what is analyzed already is kept, and a later run goes on from there."""
        self._engine.cancel()

    def poll(self) -> None:
        """Deliver what arrived since the last call."""
        self._engine.poll()

    def close(self) -> None:
        """Kill the child."""
        self._engine.close()

    def _onProgress(self, event: dict) -> None:
        text = f"Image {event['step']} of {event['steps']}"
        if event["seconds_left"]:
            text += f", about {max(1, round(event['seconds_left'] / 60))} min left"
        self.view = BatchView(True, event, text)
        self._onChange()

    def _onEnd(self, end: child.End) -> None:
        if end.state == child.DONE:
            count, failed = end.event["patients"], end.event["failed"]
            text = f"{count} images analyzed, {failed} without a score: see the table {end.event['table']}"
            self.view = BatchView(text=text, level="warn" if failed else "info", table=end.event["table"])
        else:
            cancelled = end.state == child.CANCELLED
            text = "Cancelled; started again with the same folders it goes on from here." if cancelled else end.message
            self.view = BatchView(text=text, level="info" if cancelled else "error")
        self._engine.close()  # its memory is worth more than a quick start of the next batch
        self._onChange()
