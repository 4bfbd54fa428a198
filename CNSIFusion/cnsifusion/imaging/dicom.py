"""Read one MR series from a folder of DICOM files: headers by pydicom, pixels by GDCM (all its transfer syntaxes)."""

from __future__ import annotations

import hashlib
import math
import shutil
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from cnsifusion.errors import BadInput
from cnsifusion.imaging.folders import check_letters, files_below
from cnsifusion.imaging.grid import Grid, triple
from cnsifusion.imaging.volume import Acquisition

_TAGS = [
    "SeriesInstanceUID", "SOPClassUID", "Modality", "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SamplesPerPixel", "BitsAllocated", "RepetitionTime", "EchoTime",
    "EffectiveEchoTime", "InversionTime", "MagneticFieldStrength", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "AcquisitionMatrix", "PatientAge", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_MR_IMAGES = (MRImageStorage, EnhancedMRImageStorage)
#: How many of a unit of DICOM's ages make a year.
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
#: What pydicom raises for files that are not DICOM, or damaged.
UNREADABLE_HEADER = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, KeyError, AttributeError,
    NotImplementedError, struct.error,
)  # fmt: skip
_NO_PLACE = "A DICOM file lacks a usable position, orientation, pixel spacing or size; export it again."
_UNDECODABLE = "A DICOM file's pixels cannot be decoded: it is damaged or compressed unusually."


@dataclass(frozen=True)
class _Slice:
    """One axial picture: where it lies (LPS, mm), and which frame of which file holds it."""

    path: Path
    frame: int
    position: np.ndarray
    orientation: np.ndarray  # (2, 3): row direction (along columns), column direction
    pixel_mm: tuple[float, float]  # between columns (i), between rows (j)
    shape: tuple[int, int]  # rows, columns
    rescale: tuple[float, float] = (1.0, 0.0)  # slope and intercept, where a frame has its own


def series_files(folder: Path, modality: str | None = None) -> dict[str, list[Path]]:
    """DICOM image files below ``folder`` by series instance UID. Files that are not DICOM images are passed over, and,
    where a ``modality`` is given, those that say another one.

    An MR image that is cut short in its header stays in its series, or, where it lost its series' identifier, in those
    of its folder: reading them refuses it, and no series ends a slice early without a word. Files of a folder where
    none has an identifier (an anonymizer took it) are one series.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files_below(folder):
        try:
            header = read_dicom(path, stop_before_pixels=True, specific_tags=_TAGS[:4])
        except UNREADABLE_HEADER:
            continue  # notes, thumbnails and DICOMDIR lie beside the images of many exports
        other = modality is not None and _value(header, "Modality", modality) != modality
        kind = _value(header.file_meta, "MediaStorageSOPClassUID", _value(header, "SOPClassUID", ""))
        if ("Rows" in header or kind in _MR_IMAGES) and not other:
            found[_value(header, "SeriesInstanceUID", "")].append(path)
    for path in found.pop("", []):
        beside = [files for files in found.values() if files[0].parent == path.parent]
        for files in beside or [found[str(path.parent)]]:
            files.append(path)
    return dict(found)


def _value(header: Any, tag: str, unknown: str) -> str:
    """What a header says; ``unknown`` where it says nothing, or where that is damaged: pydicom asks only now."""
    try:
        return str(header.get(tag, unknown))
    except UNREADABLE_HEADER:
        return unknown


def gather_series(files: Sequence[Path], folder: Path) -> Path:
    """Links to (or, where the file system has none, copies of) the files of one series in ``folder``; returns it.

    Raises BadInput when one of them is gone: what is left could read as a whole, shorter head.
    """
    lost = sum(not path.is_file() for path in files)
    if lost:
        raise BadInput(
            f"{lost} of the series' {len(files)} files are not on this computer (moved, deleted, or never sent here); "
            "import the series again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(files):
        place = folder / f"{number:06d}"
        try:
            place.symlink_to(path.resolve())
        except OSError:  # Windows without the privilege, some network drives
            shutil.copyfile(path, place)
    return folder


def patient_key(file: Path) -> str:
    """A hash by which two series of the same patient are known as such; "" where the file names no patient.

    The patient's number with the birth date, or without one with the name: anonymized patients share numbers.
    """
    tags = ["PatientID", "PatientBirthDate", "PatientName"]
    try:
        header = read_dicom(file, stop_before_pixels=True, specific_tags=tags)
        number, birth, name = (str(header.get(tag) or "") for tag in tags)  # damaged ones raise only here
    except UNREADABLE_HEADER:
        return ""
    words = f"{number}|{birth or name.rstrip('^ ').upper()}"
    return hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest() if number else ""


def read_dicom(path: Path, **words: Any) -> FileDataset:
    """pydicom's dcmread with ``words``, for files too that lack the preamble or, as old archives write them, all but
    their data set.

    Deflated files are not read: half a megabyte can unpack to hours of empty elements, and scanners write none. Raises
    one of UNREADABLE_HEADER for these, and for a file that is not DICOM.
    """
    if _is_deflated(path):
        raise InvalidDicomError
    read = pydicom.dcmread(path, force=True, **words)
    if "TransferSyntaxUID" not in read.file_meta:
        implicit, _ = read.original_encoding
        read.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return read


def _is_deflated(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(132)
        if start[128:] == b"DICM":
            return read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        group, element, kind = struct.unpack("<HH2s", start[:6])
        if group not in (2, 8) or element > 0xFF or not (kind.isalpha() or int.from_bytes(start[4:8], "little") < 256):
            raise InvalidDicomError  # does not begin with an element that a DICOM file begins with
        return group == 2 and DeflatedExplicitVRLittleEndian.encode() in start + stream.read()


def read_dicom_series(folder: Path, max_voxels: int) -> tuple[np.ndarray, Grid, Acquisition, str]:
    """Voxels [k, j, i], grid, acquisition and SHA-256 of the one MR series in ``folder`` (classic or enhanced).

    Raises BadInput when the folder holds no image or several series, or when slices are missing, duplicated, differ in
    size or orientation, or are sheared against each other.
    """
    files = _only_series(folder)
    headers = [read_dicom(path, stop_before_pixels=True, specific_tags=_TAGS) for path in files]
    if any(getattr(h, "Modality", "MR") != "MR" for h in headers):
        raise BadInput(f"The series is {headers[0].Modality}, not MR; an axial T2 MRI is needed.")
    if any(int(getattr(h, "SamplesPerPixel", 1)) != 1 for h in headers):
        raise BadInput("The series is in colour; a grey-scale T2 is needed.")
    slices = [s for path, header in zip(files, headers) for s in _slices(path, header)]
    if any(_lacks_pixels(path, header) for path, header in zip(files, headers)):
        raise BadInput(_UNDECODABLE)
    ordered, grid = _arrange(slices)
    if float(np.prod([float(n) for n in grid.size])) > max_voxels:
        raise BadInput(f"The series claims {' x '.join(map(str, grid.size))} voxels, which is no head scan.")
    array = _pixels(ordered, grid)
    digest = hashlib.sha256("".join(sorted(hashlib.sha256(p.read_bytes()).hexdigest() for p in files)).encode())
    return array, grid, _acquisition(headers[0], ordered[0]), digest.hexdigest()


def read_dicom_headers(folder: Path) -> tuple[list[pydicom.Dataset], Grid, list[int]]:
    """Headers of the one series in ``folder`` in slice order (one for an enhanced file), its stored grid, and for
    every frame in the order of these headers the slice it holds.

    Raises BadInput as read_dicom_series does.
    """
    files = _only_series(folder)
    headers = {path: read_dicom(path, stop_before_pixels=True) for path in files}
    ordered, grid = _arrange([s for path, header in headers.items() for s in _slices(path, header)])
    paths = list(dict.fromkeys(s.path for s in ordered))
    frames = sorted(range(len(ordered)), key=lambda k: (paths.index(ordered[k].path), ordered[k].frame))
    return [headers[path] for path in paths], grid, frames


def _only_series(folder: Path) -> list[Path]:
    series = series_files(folder)
    if not series:
        raise BadInput("The folder holds no readable DICOM image.")
    if len(series) > 1:
        counts = ", ".join(str(len(files)) for files in series.values())
        raise BadInput(
            f"The folder holds {len(series)} DICOM series (of {counts} files); give a folder with the axial T2 alone."
        )
    return next(iter(series.values()))


def _lacks_pixels(path: Path, header: Any) -> bool:
    """Whether an uncompressed file is shorter than its pixels must be: GDCM fills what is missing."""
    if header.file_meta.TransferSyntaxUID not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        return False
    frames = int(header.get("NumberOfFrames") or 1)
    pixels = int(header.Rows) * int(header.Columns) * frames
    return path.stat().st_size < pixels * int(header.get("BitsAllocated") or 16) // 8


def _slices(path: Path, header: Any) -> list[_Slice]:
    try:
        return _placed_slices(path, header)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(_NO_PLACE) from error


def _placed_slices(path: Path, header: Any) -> list[_Slice]:
    shape = (int(header.Rows), int(header.Columns))
    if "PerFrameFunctionalGroupsSequence" in header:
        shared = header.SharedFunctionalGroupsSequence[0]
        frames = header.PerFrameFunctionalGroupsSequence
        return [_frame(path, n, frame, shared, shape) for n, frame in enumerate(frames)]
    position, orientation, spacing = header.ImagePositionPatient, header.ImageOrientationPatient, header.PixelSpacing
    return [_slice(path, 0, position, orientation, spacing, shape)]


def _frame(path: Path, number: int, frame: Any, shared: Any, shape: tuple[int, int]) -> _Slice:
    def group(name: str) -> Any:
        for source in (frame, shared):
            if name in source:
                return source[name].value[0]
        raise BadInput("The enhanced DICOM file lacks the position or spacing of a frame; export it again.")

    placed = _slice(
        path, number, group("PlanePositionSequence").ImagePositionPatient,
        group("PlaneOrientationSequence").ImageOrientationPatient, group("PixelMeasuresSequence").PixelSpacing, shape,
    )  # fmt: skip
    if "PixelValueTransformationSequence" not in frame:
        return placed
    own = group("PixelValueTransformationSequence")
    slope, intercept = float(own.RescaleSlope), float(own.RescaleIntercept)
    if slope == 0 or not math.isfinite(slope + intercept):
        raise BadInput("The enhanced DICOM file's frames have no usable scale; export it again.")
    return replace(placed, rescale=(slope, intercept))


def _slice(path: Path, frame: int, position: Any, orientation: Any, spacing: Any, shape: tuple[int, int]) -> _Slice:
    return _Slice(
        path, frame, np.array(position, float).reshape(3), np.array(orientation, float).reshape(2, 3),
        (float(spacing[1]), float(spacing[0])), shape,
    )  # fmt: skip


def _arrange(slices: list[_Slice]) -> tuple[list[_Slice], Grid]:
    if not slices:
        raise BadInput(_NO_PLACE)
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape or np.abs(np.subtract(other.pixel_mm, first.pixel_mm)).max() > 1e-3:
            raise BadInput("The slices of the series differ in size or pixel spacing; give one homogeneous series.")
        if np.abs(other.orientation - first.orientation).max() > 1e-3:
            raise BadInput("The slices of the series differ in orientation (a localizer or a rotating stack?).")
    normal = np.cross(*first.orientation)
    slices = sorted(slices, key=lambda s: float(s.position @ normal))
    along = np.array([s.position @ normal for s in slices])
    if len(slices) < 2:
        raise BadInput("The series has a single slice; a volume of the whole head is needed.")
    steps = np.diff(along)
    step = float(np.median(steps))
    if steps.min() < 0.01:
        raise BadInput("The series holds two images at the same place (duplicates, echoes or time points).")
    if np.abs(steps - step).max() > 0.1 * step + 0.05:
        raise BadInput("Slices are missing from the series or unevenly spaced; export the whole series again.")
    positions = np.array([s.position for s in slices])
    expected = positions[0] + np.outer(along - along[0], normal)
    if np.abs(positions - expected).max() > 0.5:
        raise BadInput("The slices are shifted against each other (tilted gantry); resample to a rectangular grid.")
    step = float((along[-1] - along[0]) / (len(slices) - 1))
    grid = Grid(
        (first.shape[1], first.shape[0], len(slices)),
        (*first.pixel_mm, step),
        triple(positions[0]),
        tuple(float(v) for v in np.column_stack([*first.orientation, normal]).ravel()),
    )
    return slices, grid


def _pixels(slices: list[_Slice], grid: Grid) -> np.ndarray:
    array = np.empty(grid.shape, np.float32)
    opened: dict[Path, np.ndarray] = {}
    first = {item.path: item.rescale for item in slices if item.frame == 0}
    for k, item in enumerate(slices):
        if item.path not in opened:
            opened = {item.path: _decode(item.path)}
        frames = opened[item.path]
        if item.frame >= len(frames) or frames.shape[1:] != item.shape:
            raise BadInput(_UNDECODABLE)
        array[k] = frames[item.frame]
        if item.rescale != first[item.path]:  # GDCM applies that of the first frame to all
            (slope, intercept), (applied, added) = item.rescale, first[item.path]
            array[k] = (frames[item.frame].astype(float) - added) / applied * slope + intercept
    return array


def _decode(path: Path) -> np.ndarray:
    """Pixels [frame, row, column] of one file with its rescale slope and intercept applied."""
    check_letters(path)
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
    except RuntimeError as error:
        raise BadInput(_UNDECODABLE) from error
    array = sitk.GetArrayFromImage(image)
    return array.reshape(-1, *array.shape[-2:])


def _acquisition(header: Any, first: _Slice) -> Acquisition:
    def number(*keys: str) -> float | None:
        for source in _sources(header):
            for key in keys:
                value = source.get(key)
                if value not in (None, ""):
                    try:
                        found = float(value)
                    except (TypeError, ValueError):
                        continue
                    if math.isfinite(found):
                        return found
        return None

    matrix = [int(v) for v in np.atleast_1d(header.get("AcquisitionMatrix") or []) if int(v) > 0]
    fov = (first.shape[1] * first.pixel_mm[0], first.shape[0] * first.pixel_mm[1])
    contrast = header.get("ContrastBolusAgent", "given" if header.get("ContrastBolusAgentSequence") else None)
    return Acquisition(
        repetition_time=number("RepetitionTime"),
        echo_time=number("EffectiveEchoTime", "EchoTime"),
        inversion_time=number("InversionTime", "InversionTimes"),
        field_strength=number("MagneticFieldStrength"),
        contrast_agent=None if contrast is None else bool(str(contrast).strip()),
        acquired_pixel_mm=max(fov) / max(matrix) if matrix else None,
        patient_age_years=_years(str(header.get("PatientAge", ""))),
    )


def _years(age: str) -> float | None:
    """An age of DICOM's form (three digits and D, W, M or Y) in years; None where it is none."""
    known = len(age) == 4 and age[:3].isascii() and age[:3].isdigit() and age[3] in _PER_YEAR
    return float(age[:3]) / _PER_YEAR[age[3]] if known else None


def _sources(header: Any) -> list[Any]:
    """The header and, for enhanced files, the datasets inside the functional groups: the shared ones, those of the
    first frame.
    """
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*(header.get("SharedFunctionalGroupsSequence") or []), *frames[:1]]
    inner = [item for group in groups for element in group if element.VR == "SQ" for item in element.value]
    return [header, *inner]
