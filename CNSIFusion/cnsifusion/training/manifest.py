"""The list of patients: one CSV file, checked in full before any work starts."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput, CNSIFusionError
from cnsifusion.imaging.dicom import patient_key
from cnsifusion.imaging.folders import check_letters, files_below
from cnsifusion.imaging.grid import Grid, canonical_grid
from cnsifusion.imaging.headers import check_header
from cnsifusion.imaging.read import content_sha256, existing, read_image
from cnsifusion.imaging.volume import grid_of
from cnsifusion.roi.region_io import check_names

REQUIRED = ("patient_id", "image", "rois", "label")
OPTIONAL = ("site", "age", "sex", "reader", "mask_origin", "edited", "mri_date", "lp_date", "placement")
UNKNOWN = -1
#: What becomes of the labels: every patient needs one; those that stand there are taken; none is looked at.
LABELS = ("needed", "taken", "ignored")
SEXES = ("", "m", "f", "male", "female")
Names = Mapping[str, str] | None
MASK_ORIGINS = ("automatic", "semiautomatic", "manual", "imported", "truth")

_MAX_BYTES, _MAX_PATIENTS, _MAX_LP_HOURS, _LINKED = 64 << 20, 100_000, 48.0, 0.9
_BIDS_SUBJECT = re.compile(r"sub-[0-9A-Za-z]+(?=_|$)")


@dataclass(frozen=True)
class Patient:
    """One row. ``rois`` is None where regions are to be proposed; ``label`` 1 is infected, 0 a control, UNKNOWN where
    there is none or none was looked at. ``line`` is the row's in the file.

    ``placement`` is a file that says where the template lies (simulated heads); None: it is searched for.
    """

    patient_id: str
    image: Path
    rois: Path | None
    label: int
    site: str = ""
    age: float | None = None
    sex: str = ""
    reader: str = ""
    mask_origin: str = ""
    edited: str = ""
    placement: Path | None = None
    line: int = 0


@dataclass(frozen=True)
class Problem:
    """Something wrong in one line (0: the whole file) and, if it belongs to one, column of the manifest."""

    line: int
    column: str
    text: str


@dataclass(frozen=True)
class Manifest:
    """A checked cohort. ``warnings`` are sentences that do not stop the work but stand in every output.

    ``simulated``: with an image made by ``cnsifusion simulate``, wherever the manifest lies; then nothing learnt from
    it means anything for patients. ``names`` assigns labels or segments of every region file to the protocol's names.
    """

    path: Path
    patients: list[Patient]
    simulated: bool
    warnings: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> list[int]:
        """Label of each patient, in order."""
        return [p.label for p in self.patients]


def read_manifest(
    path: str | Path, folds: int = 5, inner_folds: int = 0, labels: str = "needed", names: Names = None
) -> Manifest:
    """Read and check a manifest.

    Relative paths are relative to the manifest. Raises BadInput whose text is a table of *all* problems: missing files,
    duplicate patients or images, labels other than 0 and 1, one class only, fewer patients per class than ``folds``
    outer (0: no split is meant, any classes will do) and ``inner_folds`` inner folds need, regions that do not fit
    their image, one class drawn by hand and the other proposed, ``names`` without a region file. ``labels`` is one of
    LABELS.
    """
    assert labels in LABELS
    check_names((names or {}).values())
    path = Path(path)
    rows, problems = _read_rows(path, REQUIRED if labels == "needed" else REQUIRED[:-1])
    patients: list[Patient] = []
    warnings = _unknown_columns(rows)
    seen: dict[tuple[str, str], int] = {}
    for line, row in rows.items():
        patient, found = _patient(path.parent, line, row, labels)
        problems += found
        warnings += _late_puncture(line, row)
        named = {"patient_id": unicodedata.normalize("NFKC", row["patient_id"]).casefold()}
        if patient is not None:
            patients.append(patient)
            problems += _region_problems(line, patient)
            files = {"image": patient.image, "rois": patient.rois}
            named |= {column: str(path.resolve()) for column, path in files.items() if path}
        for column, value in named.items():
            first = seen.setdefault((column, value), line)
            if value and first != line:
                what = {"patient_id": "patient", "rois": "regions"}.get(column, column)
                problems.append(Problem(line, column, f"the same {what} as in line {first}"))
    if all(p.column != "label" for p in problems):
        problems += _class_problems(rows, folds, inner_folds)
    known = [p for p in patients if p.label != UNKNOWN]
    problems += _origin_problems(known)
    if names and not problems and not any(p.rois for p in patients):
        problems.append(Problem(0, "rois", "--assign names labels of region files, and no patient has one"))
    if problems:
        raise BadInput(problem_table(problems))
    warnings += (_link_warnings(known) if known else []) + _one_patient_warnings(patients)
    return Manifest(path, patients, _simulated(path, patients), warnings, dict(names or {}))


def known_by(patient: Patient) -> set[str]:
    """What tells a patient again in another manifest, as SHA-256 (hex) that names nobody: the image's content, and the
    number that simulate gives (the same head in another view, or with another effect).
    """
    marks = {content_sha256(patient.image)}
    if patient.patient_id.startswith("sim-"):
        marks.add(hashlib.sha256(patient.patient_id.encode()).hexdigest())
    return marks


def patients_needed(folds: int, inner_folds: int) -> int:
    """The fewest patients of a class that ``folds`` outer and ``inner_folds`` inner folds can be made of."""
    least = folds
    while least - -(-least // folds) < inner_folds:  # what remains outside the largest outer fold is split again
        least += 1
    return least


def problem_table(problems: list[Problem]) -> str:
    """A sentence and one line per problem. Lines are named by number, never by patient."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    head = f"The manifest cannot be used; {count}, nothing was started:"
    lines = [f"  {'file' if p.line == 0 else f'line {p.line}':<10} {p.column:<12} {p.text}" for p in problems]
    return "\n".join([head, *lines])


def _read_rows(path: Path, required: Sequence[str]) -> tuple[dict[int, dict[str, str]], list[Problem]]:
    """Cells by column name, by line of the file; lines without any cell are passed over, as tables export them."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput("The manifest is larger than 64 MB; it should be a table with one line per patient.")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            names = [name.strip() for name in next(reader, [])]
            _check_columns(names, required)
            found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise BadInput(f"The manifest cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput("The manifest is not a CSV text file in UTF-8.") from error
    full = {line: cells for line, cells in found if any(cells)}
    rows = {line: dict(zip_longest(names, cells[: len(names)], fillvalue="")) for line, cells in full.items()}
    if not rows or len(rows) > _MAX_PATIENTS:
        raise BadInput(f"The manifest must list between 1 and {_MAX_PATIENTS} patients.")
    text = "has more cells than the table has columns (a cell with a comma, as 45,5, needs quotes)"
    stray = [line for line, cells in full.items() if any(c for n, c in zip_longest(names, cells) if not n)]
    return rows, [Problem(line, "", text) for line in stray]


def _check_columns(names: list[str], required: Sequence[str]) -> None:
    missing = [n for n in required if n not in names]
    for mark, word in ((";", "semicolons"), ("\t", "tabs")):
        if missing and any(mark in name for name in names):
            raise BadInput(f"The manifest's columns are separated by {word}; save it as CSV with commas.")
    if missing:
        raise BadInput(f"The manifest lacks the column {', '.join(missing)}; it needs {', '.join(required)}.")
    named = [n for n in names if n]
    if len(set(named)) < len(named):
        raise BadInput("The manifest has two columns of the same name.")


def _unknown_columns(rows: dict[int, dict[str, str]]) -> list[str]:
    unknown = [n for n in next(iter(rows.values())) if n and n not in REQUIRED + OPTIONAL]
    return [f"The manifest's column {n[:40]} is not known and was ignored." for n in unknown]


def _patient(
    folder: Path, line: int, cell: dict[str, str], labels: str
) -> tuple[Patient | None, list[Problem]]:
    problems = []
    if not cell["patient_id"]:
        problems.append(Problem(line, "patient_id", "is empty"))
    written = "" if labels == "ignored" else cell.get("label", "")
    if written not in ("0", "1") and (written or labels == "needed"):
        problems.append(Problem(line, "label", "must be 0 or 1"))
    image, rois = _file(folder, cell["image"]), _file(folder, cell["rois"])
    if image is None or not _exists(image):
        problems.append(Problem(line, "image", "file not found"))
    if rois is not None and not _exists(rois):
        problems.append(Problem(line, "rois", "file not found"))
    placement = _file(folder, cell.get("placement", ""))
    if placement is not None and not placement.is_file():
        problems.append(Problem(line, "placement", "file not found"))
    age = None
    if cell.get("age"):
        try:
            age = float(cell["age"])
        except ValueError:
            problems.append(Problem(line, "age", "must be a number of years"))
        if age is not None and not 0 <= age <= 130:
            problems.append(Problem(line, "age", "must lie between 0 and 130 years"))
    if cell.get("sex", "").lower() not in SEXES:
        problems.append(Problem(line, "sex", "must be M or F, or empty where it is not known"))
    origin = cell.get("mask_origin", "")
    if origin and origin not in MASK_ORIGINS:
        problems.append(Problem(line, "mask_origin", f"must be one of {', '.join(MASK_ORIGINS)}"))
    if problems or image is None:
        return None, problems
    if rois is None:
        origin = "automatic"
    label = int(written) if written else UNKNOWN
    texts = {name: cell.get(name, "") for name in ("site", "sex", "reader", "edited")}
    patient = Patient(
        cell["patient_id"], image, rois, label, age=age, mask_origin=origin, placement=placement, line=line, **texts
    )
    return patient, []


def _file(folder: Path, text: str) -> Path | None:
    if not text or "\0" in text:
        return None
    path = Path(text)
    return path if path.is_absolute() else folder / path


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name too long for any file is none."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _late_puncture(line: int, row: dict[str, str]) -> list[str]:
    """A warning where lumbar puncture and MRI are more than 48 h apart, or a date cannot be read."""
    texts = [row.get(name, "") for name in ("mri_date", "lp_date")]
    if not all(texts):
        return []
    try:
        mri, lp = (datetime.fromisoformat(t).replace(tzinfo=None) for t in texts)
    except ValueError:
        return [f"Line {line}: mri_date or lp_date is not of the form 2026-01-31 or 2026-01-31T14:30."]
    hours = abs((mri - lp).total_seconds()) / 3600
    if hours <= _MAX_LP_HOURS:
        return []
    return [f"Line {line}: lumbar puncture and MRI are {hours:.0f} h apart (over 48 h)."]


def _region_problems(line: int, patient: Patient) -> list[Problem]:
    if patient.rois is None or patient.rois.is_dir() or patient.image.is_dir():
        return []  # DICOM: checked when read, since geometry is spread over many files
    try:
        image = _file_grid(patient.image)
    except CNSIFusionError:
        return [Problem(line, "image", "is not a 3-D image this program can read")]
    try:
        rois = _file_grid(patient.rois)
    except CNSIFusionError:
        return [Problem(line, "rois", "is not a region file this program can read")]
    if _inside(rois, image):
        return []
    return [Problem(line, "rois", "does not lie on the grid of its image")]


def slice_spacing(path: Path) -> float:
    """Distance of neighbouring axial slices (mm) of an image file (from its header) or DICOM folder."""
    return read_image(path).spacing[2] if path.is_dir() else _file_grid(path).spacing[2]


def _file_grid(path: Path) -> Grid:
    """Canonical grid of a volume or labelmap, from its header alone; raises BadInput where it cannot be read."""
    if path.name.lower().endswith(".dcm"):
        return _read_grid(path)
    check_header(existing(path), voxels=False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInput("The file's header cannot be read.") from error
    size, spacing = reader.GetSize(), reader.GetSpacing()
    if len(size) != 3:
        raise BadInput("The file is not three-dimensional.")
    return canonical_grid(Grid(size, spacing, reader.GetOrigin(), reader.GetDirection()))


def _read_grid(path: Path) -> Grid:
    check_letters(path)
    try:
        return canonical_grid(grid_of(sitk.ReadImage(str(path))))
    except RuntimeError as error:
        raise BadInput("The file cannot be read.") from error


def _inside(rois: Grid, image: Grid) -> bool:
    """Whether the regions' voxels coincide with voxels of the image (Slicer crops a segmentation to its content)."""
    if np.abs(np.array(rois.spacing) - image.spacing).max() > 0.01 or np.abs(rois.matrix - image.matrix).max() > 0.01:
        return False
    first = image.to_ijk(np.array(rois.origin))
    last = first + np.array(rois.size) - 1
    on_voxels = np.abs(first - np.round(first)).max() <= 0.1
    return bool(on_voxels and first.min() > -0.5 and np.all(last < np.array(image.size) - 0.5))


def _class_problems(rows: dict[int, dict[str, str]], folds: int, inner_folds: int) -> list[Problem]:
    if folds == 0:
        return []
    counts = Counter(row["label"] for row in rows.values())
    least = patients_needed(folds, inner_folds)
    few = [name for name in ("0", "1") if counts[name] < least]
    split = f"the {folds} folds" if least == folds else f"{folds} outer and {inner_folds} inner folds need ({least})"
    if not counts["0"] or not counts["1"]:
        return [Problem(0, "label", "only one class: both infected patients (1) and controls (0) are needed")]
    return [Problem(0, "label", f"only {counts[n]} with label {n}, fewer than {split}") for n in few]


def _origin_problems(patients: list[Patient]) -> list[Problem]:
    drawn: dict[int, set[bool]] = {0: set(), 1: set()}
    for patient in patients:
        if patient.mask_origin:
            drawn[patient.label].add(patient.mask_origin == "manual")
    if drawn[0] and drawn[1] and not drawn[0] & drawn[1] and len(drawn[0]) == len(drawn[1]) == 1:
        text = "one class was drawn by hand and the other proposed: the model would learn who drew, not who is infected"
        return [Problem(0, "mask_origin", text)]
    return []


def _link_warnings(patients: list[Patient]) -> list[str]:
    """A warning where mask origin, editing, reader or site almost tell the label (share of the majority label per
    value).
    """
    warnings = []
    for name in ("mask_origin", "edited", "reader", "site"):
        groups: dict[str, Counter] = {}
        for patient in patients:
            groups.setdefault(getattr(patient, name), Counter())[patient.label] += 1
        agreeing = sum(max(c.values()) for c in groups.values())
        majority = max(Counter(p.label for p in patients).values())
        if len(groups) > 1 and agreeing >= _LINKED * len(patients) and agreeing > majority:
            what = "Whether regions were edited" if name == "edited" else f"The {name.replace('_', ' ')}"
            warnings.append(f"{what} goes along with the label; figures may reflect it.")
    return warnings


def _one_patient_warnings(patients: list[Patient]) -> list[str]:
    """A warning where the DICOM headers or BIDS names of several lines name one patient: two scans of one may fall into
    two folds.
    """
    lines: dict[str, list[int]] = {}
    for patient in patients:
        files = files_below(patient.image) if patient.image.is_dir() else []
        key = next(filter(None, map(patient_key, files)), "") or _bids_subject(patient.image)
        lines.setdefault(key or f"line {patient.line}", []).append(patient.line)
    same = [", ".join(map(str, found)) for found in lines.values() if len(found) > 1]
    if not same:
        return []
    return [
        f"By their DICOM headers or BIDS names these lines are of one patient: {'; '.join(same)}. If they are, keep "
        "one line of each: a patient in two folds makes all figures too good."
    ]


def _bids_subject(image: Path) -> str:
    """The folder and name of the image's subject in a BIDS data set (sub-01/..., sub-01_T2w.nii.gz); "" in no such."""
    for path in (*reversed(image.parents), image):
        if found := _BIDS_SUBJECT.match(path.name):
            return str(path.parent.resolve() / found[0])
    return ""


def _simulated(path: Path, patients: list[Patient]) -> bool:
    folders = {path.parent} | {folder for p in patients for folder in list(p.image.resolve().parents)[:2]}
    return any((folder / "simulation.json").exists() for folder in folders)
