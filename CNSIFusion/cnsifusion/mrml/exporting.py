"""Out of the panel: the report as a file, and the DICOM objects for a PACS."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from cnsifusion.errors import BadInput, failure, raise_unexpected
from cnsifusion.imaging.dicom import gather_series
from cnsifusion.mrml.restoring import Restoring
from cnsifusion.mrml.results import resultOf
from cnsifusion.reporting import write_report

if TYPE_CHECKING:
    from cnsifusion.mrml.session import Session

EXPORT = "export"
PATIENT_LABEL = "Patient named on the PDF (empty: nobody)"
CONFIRM_SCORE = (
    "The model is a demonstration: its score means nothing for patients and is left out of the report object. "
    "Write the score into the DICOM objects all the same"
)


class Exports:
    """What leaves the panel for the case in front."""

    def __init__(self, session: Session):
        self._session = session
        self._written: dict[str, Path] = {}
        #: Whom a case's PDF names, by the case's node; not kept in the scene.
        self.patients: dict[str, str] = {}
        self.restoring = Restoring(session)

    def resultFile(self) -> Path | None:
        """result.json of the case in front, None where there is none (yet)."""
        report = self._session.reportFile()
        return report.with_name("result.json") if report else None

    def dicomProblem(self) -> str:
        """Why the case cannot be written as DICOM; "" when it can."""
        case = self._session.front
        if case is None:
            return "Choose the axial T2 image first."
        if not self._session.sources.hasSeries(case.volume):
            return "The image was not opened from DICOM: there is no study that the objects could belong to."
        return ""

    @property
    def patient(self) -> str:
        """Whom the PDF of the case in front names: nobody until the reader says so."""
        case = self._session.front
        return self.patients.get(case.node.GetID(), "") if case is not None else ""

    @patient.setter
    def patient(self, name: str) -> None:
        if self._session.front is not None:
            self.patients[self._session.front.node.GetID()] = name

    def needsConfirmation(self) -> bool:
        """Whether the case's score is a demonstration's, which is only written when the reader confirms it."""
        case = self._session.front
        result = resultOf(case) if case is not None else None
        return result is not None and result.demonstration

    def report(self, path: str | Path) -> Future:
        """Write the report (.pdf or .html) in a thread; the future raises what went wrong."""
        return self._session.background.start(self._reportWriter(path))

    def saveReport(self, path: str | Path) -> None:
        """The same where nobody waits for it: the case's message says how it went."""

        case = self._session.case  # another may be in front by then

        def saved(ready: Future) -> None:
            error = ready.exception()
            if error is None:
                self._session.say(case, "info", f"Saved: {Path(path).name}.")
            else:
                self._session.say(case, "error", str(failure(error)))
                raise_unexpected(error)

        self._session.background.later(self._reportWriter(path), saved)

    def _reportWriter(self, path: str | Path) -> Callable[[], None]:
        result = self.resultFile()
        if result is None:
            raise BadInput("There is no report: analyze first.")
        patient = self.patient.strip()
        return lambda: write_report(result, path, patient)

    def dicom(self, out: str | Path, confirmed: bool = False) -> None:
        """Write SEG, SR and key images into the folder ``out``, in the child process.

        A demonstration's score is written only when ``confirmed``. Raises BadInput with the reason when it cannot be.
        """
        result, problem = self.resultFile(), self.dicomProblem()
        if result is None or problem:
            raise BadInput(problem or "Analyze again: the result's files are gone.")
        files = self._session.sources.seriesFiles(self._session.case.volume)
        if not files:
            raise BadInput(
                "The DICOM files that the image was opened from cannot be found: they were moved or deleted, or "
                "Slicer's DICOM database is closed. Load the series again."
            )
        request = {"command": "dicom", "result": str(result), "out": str(out), "confirm": confirmed}
        self._session.jobs.start(
            EXPORT,
            lambda folder: {**request, "image": str(gather_series(files, folder / "series"))},
            lambda end: self._onWritten(end, Path(out)),
        )

    def dicomFolder(self) -> Path | None:
        """Where the case's DICOM objects were written last, None where they were not."""
        case = self._session.front
        return self._written.get(case.node.GetID()) if case is not None else None

    def forget(self) -> None:
        """The scene was closed: its node ids will name other cases."""
        self._written.clear()
        self.patients.clear()
        self.restoring.forget()

    def _onWritten(self, end, out: Path) -> None:
        case = self._session.jobs.running.case
        if end.event.get("files") and case.scene is not None:
            self._written[case.node.GetID()] = out
            names = ", ".join(Path(name).name for name in end.event["files"])
            self._session.jobs.end(end, f"Written for the PACS: {names}.")
        else:
            self._session.jobs.end(end)
