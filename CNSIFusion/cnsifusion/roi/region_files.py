"""The segments stored in a region file, whatever its format, each in canonical axis order on the file's own grid."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, read_labels
from cnsifusion.imaging.grid import reorder
from cnsifusion.imaging.volume import grid_of

#: Names of the segments that hold the ventricular parts, by part value.
PART_SEGMENTS = {1: "Lateral ventricles", 2: "Third ventricle", 3: "Fourth ventricle"}
_NRRD, _OTHER = (".nrrd", ".nhdr"), (".nii", ".nii.gz", ".mha", ".mhd")
_MAX_VOXELS = 2_000_000_000  # over all layers
_MAX_LABELS = 1000


@dataclass(frozen=True, eq=False)
class StoredSegment:
    """One segment of a file. ``mask`` is bool [k, j, i] on ``grid``, both in canonical LPS order.

    ``value`` is the label of a plain labelmap, None where the file has names; ``code_name`` the protocol name its
    codes stand for; ``origin`` how it was made as far as the file says.
    """

    name: str
    mask: np.ndarray
    grid: Grid
    value: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    code_name: str | None = None
    origin: str = "imported"


def read_segments(path: Path, image_grid: Grid) -> tuple[list[StoredSegment], dict[str, str]]:
    """The segments of the file at ``path``, and its header's own fields (.nrrd only).

    ``image_grid`` tells slice spacing where a DICOM SEG does not. Raises BadInput for what cannot be read or is empty.
    """
    name = path.name.lower()
    if not path.exists():
        raise BadInput("There is no region file at the path given.")
    if path.is_file() and path.stat().st_size == 0:
        raise BadInput("The region file is empty (0 bytes); copy or export it again.")
    if path.is_dir() or not name.endswith((*_NRRD, *_OTHER)):
        from cnsifusion.roi.dicom_seg import read_dicom_seg  # pydicom only where it is needed

        return read_dicom_seg(path, image_grid), {}
    header = _header(path) if name.endswith(_NRRD) else {}
    if any(re.fullmatch(r"Segment\d+_.*", key) for key in header) or "CNSIFusion_Regions" in header:
        return _slicer_segments(path, header), header
    return _label_segments(path), header


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInput("The region file cannot be read: it is damaged or not of the type its name says.") from error
    return reader


def _header(path: Path) -> dict[str, str]:
    reader = _reader(path)
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if not key.startswith(("ITK_", "NRRD_"))}


def _slicer_segments(path: Path, header: dict[str, str]) -> list[StoredSegment]:
    """Segments of a .seg.nrrd; each lies on one layer with one label value (Slicer 4.11 and newer)."""
    reader = _reader(path)
    if float(np.prod([float(n) for n in reader.GetSize()])) * reader.GetNumberOfComponents() > _MAX_VOXELS:
        raise BadInput("The region file claims more voxels than a head scan has; it is damaged.")
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise BadInput("The region file is damaged or cut short; export the segmentation again.") from error
    if image.GetDimension() != 3:
        raise BadInput("The region file is not a 3-D segmentation; save it from Slicer as .seg.nrrd again.")
    voxels = sitk.GetArrayFromImage(image)
    voxels = voxels[..., None] if voxels.ndim == 3 else voxels
    layers = [reorder(voxels[..., n], grid_of(image)) for n in range(voxels.shape[-1])]
    indices = sorted({int(m[1]) for key in header if (m := re.match(r"Segment(\d+)_", key))})
    return [_slicer_segment(header, index, layers) for index in indices]


def _slicer_segment(header: dict[str, str], index: int, layers: list[tuple[np.ndarray, Grid]]) -> StoredSegment:
    def text(key: str, default: str) -> str:
        return header.get(f"Segment{index}_{key}", default)

    name = text("Name", text("ID", f"Segment {index + 1}"))
    try:
        # Files of Slicer before 4.11 have no layer: one segment per component, value 1.
        layer, value = int(text("Layer", str(min(index, len(layers) - 1)))), int(text("LabelValue", "1"))
        array, grid = layers[layer]
    except (ValueError, IndexError) as error:
        raise BadInput(f"The region file's entry for “{name}” is damaged; export the segmentation again.") from error
    tags = dict(pair.split(":", 1) for pair in text("Tags", "").split("|") if ":" in pair)
    return StoredSegment(name, array == value, grid, tags=tags)


def _label_segments(path: Path) -> list[StoredSegment]:
    array, grid = read_labels(path)
    values = np.unique(array)
    values = values[values != 0]
    if len(values) == 0:
        raise BadInput("The region file holds no voxel other than background; draw or export the regions again.")
    if len(values) > _MAX_LABELS:
        raise BadInput(f"The region file has {len(values)} different values, so it is an image, not a labelmap.")
    return [StoredSegment(str(v), array == v, grid, value=int(v)) for v in values]
