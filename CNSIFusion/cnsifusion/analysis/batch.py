"""Many patients, one after the other: a folder for each and one table; resumable, and one failure stops no other.

A patient's folder is named by a hash of all that its result depends on (image files, regions, bundle, the program's
source), so a later run finds it again whatever was added to the list, and never takes one result for another.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from cnsifusion.analysis.analyze import Analyzer
from cnsifusion.analysis.result import PatientResult, read_result
from cnsifusion.bundles import default_bundle_dir
from cnsifusion.errors import BadInput, failure, log_unexpected
from cnsifusion.imaging import check_output, temporary_folder, write_text
from cnsifusion.imaging.dicom import gather_series, series_files
from cnsifusion.imaging.folders import files_below
from cnsifusion.imaging.read import SUFFIXES, parts, sidecar
from cnsifusion.imaging.write import write_table
from cnsifusion.source import source_hash

TABLE = "cohort.csv"
_STEP = "Analyze patients"
#: What of this program a result and its report come from.
_PROGRAM = (
    "analysis", "bundles", "imaging", "inference.py", "radiomics", "reporting", "roi", "resources/report",
    "resources/template",
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """One row of the list: its name in the table, its image, its regions, and the names of their labels.

    ``files`` is one image file, one DICOM folder, or the files of one DICOM series.
    """

    name: str
    files: tuple[Path, ...]
    rois: Path | None = None
    assigned: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of the table. ``problem`` says why there is no probability."""

    patient_id: str
    folder: str
    probability: str = ""
    low: str = ""
    high: str = ""
    slices_above: str = ""
    slices: str = ""
    pvs_left: str = ""
    pvs_right: str = ""
    demonstration: str = ""
    check: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a batch: the table's file and its rows."""

    table: Path
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Patients without a probability."""
        return sum(bool(row.problem) for row in self.rows)


def find_patients(folder: Path, leave_out: Path | None = None) -> list[Patient]:
    """Every image below ``folder`` but for those in ``leave_out`` and hidden ones (copies that macOS, git or a killed
    run keeps): image files, those too that are links to nothing, and MR series of DICOM files.

    Named by their path below ``folder``. Raises BadInput when there is none.
    """
    if not folder.is_dir():
        raise BadInput("There is no folder of images at the path given.")
    ignored = leave_out.resolve() if leave_out else None

    def counts(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return not hidden and (ignored is None or ignored not in path.resolve().parents)

    def named(path: Path) -> str:
        return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")

    patients = [
        Patient(named(path), (path,))
        for path in files_below(folder, lost=True)
        if _is_image(path) and counts(path)
    ]
    names: dict[str, int] = {}
    for files in series_files(folder, modality="MR").values():
        if kept := tuple(path for path in files if counts(path)):
            place = named(kept[0].parent)
            names[place] = names.get(place, 0) + 1
            patients.append(Patient(place if names[place] == 1 else f"{place} (series {names[place]})", kept))
    if not patients:
        raise BadInput("The folder holds no image: NIfTI, NRRD, MetaImage or DICOM files of MR series are needed.")
    return patients


def write_list(patients: Sequence[Patient], path: Path) -> None:
    """Write a list of patients for :func:`read_list` (JSON)."""
    rows = [{"name": p.name, "files": [str(f) for f in p.files]} for p in patients]
    write_text(json.dumps(rows), path)


def read_list(path: Path) -> list[Patient]:
    """The patients of a list that :func:`write_list` wrote. Raises BadInput when it is none, or empty."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        patients = [Patient(str(row["name"]), tuple(Path(f) for f in row["files"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput("The list of patients cannot be read; choose the folder of images again.") from error
    if not patients or not all(patient.files for patient in patients):
        raise BadInput("The list of patients is empty.")
    return patients


def analyze_patients(
    analyzer: Analyzer,
    patients: Sequence[Patient],
    out: Path,
    bundle: Path | None = None,
    resume: bool = False,
    emit: Callable[[dict], None] = lambda event: None,
) -> Outcome:
    """Analyze every patient into a folder below ``out`` and write the table ``cohort.csv`` there, anew after each.

    With ``resume``, results of an earlier run on the very same files, bundle and state of this program are kept. Raises
    BundleError for a bundle that cannot be used, BadInput where ``cohort.csv`` is another table; what goes wrong with
    one patient stands in its row.
    """
    check_output(out)
    _check_table(out / TABLE)
    folder = bundle or default_bundle_dir()
    engine = source_hash(*_PROGRAM) + analyzer.bundle(folder).sha256
    rows: list[Row] = []
    begun, worked = time.monotonic(), 0
    for number, patient in enumerate(patients):
        pace = (time.monotonic() - begun) / worked if worked else 0.0
        emit({
            "event": "progress", "step": number + 1, "steps": len(patients), "name": _STEP,
            "fraction": round(number / len(patients), 4),
            "seconds_left": round(pace * (len(patients) - number), 1) if worked else None,
        })  # fmt: skip
        known = out / _key(patient, engine)
        result = _kept(known) if resume else None
        worked += result is None
        rows.append(_row(patient, known.name, result) if result else _analyze(analyzer, patient, known, folder))
        write_table([asdict(row) for row in rows], out / TABLE)
    return Outcome(out / TABLE, rows)


def _check_table(path: Path) -> None:
    """Refuse to replace a table that no batch wrote: a manifest may have this name."""
    begins = ",".join(column.name for column in fields(Row)[:3])
    if path.exists() and not path.read_bytes().startswith(begins.encode()):
        raise BadInput(f"The output folder holds a {TABLE} of another kind; choose another folder.")


def _is_image(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(SUFFIXES) and ".seg." not in name


def _key(patient: Patient, engine: str) -> str:
    known = [engine, *([json.dumps(patient.assigned)] if patient.assigned else [])]
    for path in (f for named in (*patient.files, *([patient.rois] if patient.rois else [])) for f in _read_of(named)):
        try:
            status = path.stat()
            known.append(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}")
        except OSError:
            known.append(f"{path}|missing")
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _read_of(path: Path) -> list[Path]:
    """Every file that is read for the image or the regions at ``path``."""
    beside = [sidecar(path)] if _is_image(path) else []
    try:
        return [*parts(path), *beside]
    except (OSError, BadInput):  # the analysis says what is wrong
        return [path, *beside]


def _kept(folder: Path) -> PatientResult | None:
    """The result of an earlier run, None where there is none or it cannot be read."""
    try:
        return read_result(folder / "result.json")
    except BadInput:
        return None


def _analyze(analyzer: Analyzer, patient: Patient, out: Path, bundle: Path) -> Row:
    temporary = temporary_folder()
    try:
        whole = len(patient.files) == 1 and (patient.files[0].is_dir() or _is_image(patient.files[0]))
        image = patient.files[0] if whole else gather_series(patient.files, temporary)
        return _row(patient, out.name, analyzer.analyze(image, out, patient.rois, bundle, names=patient.assigned))
    except Exception as error:  # noqa: BLE001  a fault of ours must not cost the other patients of a night
        log_unexpected(error, "a patient's analysis")
        return Row(patient.name, out.name, problem=str(failure(error)))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _row(patient: Patient, folder: str, result: PatientResult) -> Row:
    score = result.patient
    return Row(
        patient.name, folder, f"{score.probability:.6f}", f"{score.low:.6f}", f"{score.high:.6f}",
        str(score.instances_above), str(score.instances), str(result.pvs["left"]), str(result.pvs["right"]),
        "DEMONSTRATION" if result.demonstration else "", result.check["verdict"],
    )  # fmt: skip
