"""Read a DICOM Segmentation object (PS3.3 C.8.20) with plain pydicom: binary, fractional and labelmap kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid
from cnsifusion.imaging.dicom import UNREADABLE_HEADER, read_dicom
from cnsifusion.imaging.folders import files_below
from cnsifusion.imaging.grid import reorder
from cnsifusion.imaging.read import MAX_VOXELS
from cnsifusion.roi.names import PART_CODES, PARTS, SEGMENTS
from cnsifusion.roi.region_files import PART_SEGMENTS, StoredSegment

_SEGMENTATION, _LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_BY_CODE = {(s.type.value, s.side_code.value if s.side_code else ""): s.name for s in SEGMENTS.values()}
_BY_CODE |= {(PART_CODES[part].value, ""): PART_SEGMENTS[value] for value, part in PARTS.items()}
_ORIGINS = {"AUTOMATIC": "automatic", "SEMIAUTOMATIC": "semiautomatic", "MANUAL": "manual"}
_MAX_FRAME_VOXELS = 1 << 30
_DAMAGED = "The DICOM SEG is damaged or of a kind that cannot be read ({}); export it again."


def read_dicom_seg(path: Path, image_grid: Grid) -> list[StoredSegment]:
    """The segments of a DICOM SEG file, or of the one SEG in a folder, in canonical order on the frames' own grid.

    Frames are placed by their Image Position (Patient); where the object does not say how far slices are apart, that
    of ``image_grid`` is taken if the frames fit it. Raises BadInput for anything else than one readable SEG.
    """
    dataset = _dataset(path)
    try:
        frames = _frames(dataset)
        grid, slots = _grid(dataset, image_grid)
        segments = [item for item in dataset.SegmentSequence if item.SegmentNumber]  # 0: a labelmap's background
        return [_segment(dataset, item, frames, grid, slots) for item in segments]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise BadInput(_DAMAGED.format(type(error).__name__)) from error


def _dataset(path: Path) -> Dataset:
    found = []
    for file in files_below(path) if path.is_dir() else [path]:
        try:
            header = read_dicom(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        except UNREADABLE_HEADER:
            continue  # other files may lie in the folder
        if header.get("SOPClassUID") in (_SEGMENTATION, _LABELMAP):
            found.append(file)
    if len(found) != 1:
        count = "no" if not found else str(len(found))
        raise BadInput(f"There is {count} DICOM segmentation at the path given; choose one DICOM SEG file.")
    dataset = read_dicom(found[0])
    claimed = float(dataset.get("Rows") or 0) * float(dataset.get("Columns") or 0)
    claimed *= max(float(dataset.get("NumberOfFrames") or 1), float(len(dataset.get("SegmentSequence") or ())))
    if claimed > _MAX_FRAME_VOXELS:
        raise BadInput("The DICOM SEG claims more voxels than a segmentation of a head has; it is damaged.")
    return dataset


def _frames(dataset: Dataset) -> np.ndarray:
    """Pixels (frame, row, column); fractional ones as bool at half the largest fraction (probability 50 %)."""
    frames = dataset.pixel_array
    frames = frames[None] if frames.ndim == 2 else frames
    if dataset.SegmentationType == "FRACTIONAL":
        frames = frames.astype(float) >= 0.5 * float(dataset.MaximumFractionalValue)
    return frames


def _grid(dataset: Dataset, image_grid: Grid) -> tuple[Grid, np.ndarray]:
    """The grid of all frames (i columns, j rows, k along the normal), and each frame's k."""
    first = dataset.PerFrameFunctionalGroupsSequence[0]
    orientations = [_group(dataset, f, "PlaneOrientationSequence").ImageOrientationPatient for f in _groups(dataset)]
    across, down = np.array(orientations[0][:3], float), np.array(orientations[0][3:], float)
    if max(np.abs(np.array(o, float) - np.array(orientations[0], float)).max() for o in orientations) > 1e-3:
        raise ValueError("frames are not parallel")
    positions = np.array(
        [_group(dataset, f, "PlanePositionSequence").ImagePositionPatient for f in _groups(dataset)], float
    )
    measures = _group(dataset, first, "PixelMeasuresSequence")
    normal = np.cross(across, down)
    heights = (positions - positions[0]) @ normal
    step = _slice_step(heights, measures, normal, image_grid)
    slots = np.round((heights - heights.min()) / step).astype(int)
    if np.abs((heights - heights.min()) / step - slots).max() > 0.1:
        raise ValueError("frames are not evenly spaced")
    rows, columns = float(measures.PixelSpacing[0]), float(measures.PixelSpacing[1])
    origin = positions[int(np.argmin(heights))]
    size = (int(dataset.Columns), int(dataset.Rows), int(slots.max()) + 1)
    if not np.isfinite([*positions.ravel(), columns, rows, step]).all() or size[0] * size[1] * size[2] > MAX_VOXELS:
        raise ValueError("frames lie too far apart")
    direction = tuple(np.stack([across, down, normal], axis=1).ravel().tolist())
    return Grid(size, (columns, rows, float(step)), (origin[0], origin[1], origin[2]), direction), slots


def _slice_step(heights: np.ndarray, measures: Dataset, normal: np.ndarray, image_grid: Grid) -> float:
    """Distance of neighbouring slices (mm): as stated, else the image's if the frames fit it, else the smallest gap."""
    gaps = np.diff(np.unique(np.round(heights, 3)))
    gaps = gaps[gaps > 0.01]
    stated = measures.get("SpacingBetweenSlices")
    axis = int(np.argmax(np.abs(normal @ image_grid.matrix)))
    candidates = ([float(stated)] if stated else []) + [image_grid.spacing[axis]]
    for step in candidates:
        if step > 0 and (not len(gaps) or np.abs(gaps / step - np.round(gaps / step)).max() < 0.1):
            return step
    return float(gaps.min())


def _groups(dataset: Dataset) -> list[Dataset]:
    return list(dataset.PerFrameFunctionalGroupsSequence)


def _group(dataset: Dataset, frame: Dataset, name: str) -> Dataset:
    """A functional group's item, of the frame or shared by all."""
    holder = frame if name in frame else dataset.SharedFunctionalGroupsSequence[0]
    return holder[name].value[0]


def _segment(dataset: Dataset, item: Dataset, frames: np.ndarray, grid: Grid, slots: np.ndarray) -> StoredSegment:
    number = int(item.SegmentNumber)
    array = np.zeros(grid.shape, bool)
    for pixels, slot, frame in zip(frames, slots, _groups(dataset)):
        if dataset.SegmentationType == "LABELMAP":
            array[slot] |= pixels == number
        elif _group(dataset, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber == number:
            array[slot] |= pixels > 0
    mask, canonical = reorder(array, grid)
    label = str(item.get("SegmentLabel", f"Segment {number}"))
    origin = _ORIGINS.get(str(item.get("SegmentAlgorithmType", "")), "imported")
    return StoredSegment(label, mask, True, canonical, code_name=_name_of_codes(item), origin=origin)


def _name_of_codes(item: Dataset) -> str | None:
    """Protocol name of a segment's property type and laterality (its modifier); None where they say nothing."""
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or []
    if not kinds:
        return None
    sides = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence") or item.get("AnatomicRegionModifierSequence")
    side = str(sides[0].CodeValue) if sides else ""
    return _BY_CODE.get((str(kinds[0].CodeValue), side))
