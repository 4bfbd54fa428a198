"""The segments stored in a region file, whatever its format, each in canonical axis order on the file's own grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, read_labels
from cnsifusion.imaging.grid import reorder
from cnsifusion.imaging.headers import check_header
from cnsifusion.imaging.read import MAX_VOXELS
from cnsifusion.imaging.volume import grid_of
from cnsifusion.roi import region_details

#: Names of the segments that hold the ventricular parts, by part value.
PART_SEGMENTS = {1: "Lateral ventricles", 2: "Third ventricle", 3: "Fourth ventricle"}
_NRRD, _OTHER = (".nrrd", ".nhdr"), (".nii", ".nii.gz", ".mha", ".mhd")
_MAX_BYTES = 1 << 30  # over all layers
_MAX_SEGMENTS = 1000


@dataclass(frozen=True, eq=False)
class StoredSegment:
    """One segment of a file: the voxels of ``layer`` [k, j, i] on ``grid`` (canonical LPS order) that are ``label``.

    ``value`` is the label of a plain labelmap, None where the file has names; ``code_name`` the protocol name its
    codes stand for; ``origin`` how it was made as far as the file says.
    """

    name: str
    layer: np.ndarray
    label: int | bool
    grid: Grid
    value: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    code_name: str | None = None
    origin: str = "imported"

    @property
    def mask(self) -> np.ndarray:
        """The segment's voxels, bool [k, j, i]; made anew each time, since a file may hold a thousand segments."""
        return self.layer == self.label


def read_segments(path: Path, image_grid: Grid) -> tuple[list[StoredSegment], dict[str, str]]:
    """The segments of the file at ``path``, and its header's own fields (.nrrd only).

    ``image_grid`` tells slice spacing where a DICOM SEG does not. Raises BadInput for what cannot be read or is empty.
    """
    name = path.name.lower()
    try:
        is_folder, size = path.is_dir(), path.stat().st_size
    except (OSError, ValueError) as error:
        raise BadInput("There is no region file at the path given.") from error
    if not is_folder and size == 0:  # pipes and devices too
        raise BadInput("The region file is empty (0 bytes); copy or export it again.")
    if is_folder or not name.endswith((*_NRRD, *_OTHER)):
        from cnsifusion.roi.dicom_seg import read_dicom_seg  # pydicom only where it is needed

        return read_dicom_seg(path, image_grid), {}
    with _said_of_regions():
        check_header(path)
    if not name.endswith(_NRRD):
        return _label_segments(path), {}
    reader = _reader(path)
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if not key.startswith(("ITK_", "NRRD_"))}
    if any(re.fullmatch(r"Segment\d+_.*", key) for key in header) or region_details.FIELD in header:
        return _slicer_segments(reader, header), header
    return _label_segments(path), header


@contextmanager
def _said_of_regions() -> Iterator[None]:
    """Readers that images and regions share speak of "the image": say which of a command's two files they mean."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"In the region file: {error}") from error


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInput("The region file cannot be read: it is damaged or not of the type its name says.") from error
    return reader


def _slicer_segments(reader: sitk.ImageFileReader, header: dict[str, str]) -> list[StoredSegment]:
    """Segments of a .seg.nrrd; each lies on one layer with one label value (Slicer 4.11 and newer)."""
    indices = sorted({int(m[1]) for key in header if (m := re.match(r"Segment(\d{1,9})_", key))})
    if len(indices) > _MAX_SEGMENTS:
        raise BadInput(f"The region file lists {len(indices)} segments, which no segmentation of a head has.")
    voxels = float(np.prod([float(n) for n in reader.GetSize()]))
    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    one = reader.GetNumberOfComponents() * int(bits[1] if bits else 64) / 8
    if voxels > MAX_VOXELS or voxels * one > _MAX_BYTES:
        raise BadInput("The region file claims more voxels than a head scan has; it is damaged.")
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise BadInput("The region file is damaged or cut short; export the segmentation again.") from error
    if image.GetDimension() != 3:
        raise BadInput("The region file is not a 3-D segmentation; save it from Slicer as .seg.nrrd again.")
    array = sitk.GetArrayFromImage(image)
    array = array[..., None] if array.ndim == 3 else array
    layers = [reorder(array[..., n], grid_of(image)) for n in range(array.shape[-1])]
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
    return StoredSegment(name, array, value, grid, tags=tags)


def _label_segments(path: Path) -> list[StoredSegment]:
    with _said_of_regions():
        array, grid = read_labels(path)
    values = np.unique(array)
    values = values[values != 0]
    if len(values) == 0:
        raise BadInput("The region file holds no voxel other than background; draw or export the regions again.")
    if len(values) > _MAX_SEGMENTS:
        raise BadInput(f"The region file has {len(values)} different values, so it is an image, not a labelmap.")
    return [StoredSegment(str(v), array, int(v), grid, value=int(v)) for v in values]
