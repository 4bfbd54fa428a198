"""Read an image or a labelmap from NIfTI, NRRD, MetaImage or a DICOM folder into canonical axis order."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging.dicom import read_dicom_series
from cnsifusion.imaging.folders import files_below
from cnsifusion.imaging.grid import Grid, reorder
from cnsifusion.imaging.headers import UNREADABLE, check_header, voxel_file
from cnsifusion.imaging.volume import Acquisition, Volume, grid_of
from cnsifusion.imaging.write import temporary_folder
from cnsifusion.threads import both

#: More voxels than any head scan has; a header that claims more is refused before memory is taken for it.
MAX_VOXELS = 150_000_000
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
#: No quantity of an acquisition is larger; what is (or is no number) was not measured.
_LARGEST = 1e9
_LABEL_TYPES = {
    sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16,
    sitk.sitkUInt32, sitk.sitkInt32, sitk.sitkUInt64, sitk.sitkInt64,
}  # fmt: skip


def read_image(path: str | Path) -> Volume:
    """The image at ``path`` (NIfTI, NRRD, MetaImage or a DICOM folder) as float32 voxels in canonical LPS order.

    A 4-D image with a single time point counts as 3-D. Raises BadInput with one sentence for anything that is not one
    scalar 3-D volume with a usable geometry.
    """
    path = existing(path)
    if path.is_dir():
        array, grid, acquisition, sha256 = read_dicom_series(path, MAX_VOXELS)
    else:
        image = _read_file(path)
        array, grid = sitk.GetArrayFromImage(image), grid_of(image)
        acquisition, sha256 = _acquisition(path), content_sha256(path)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the check refuses
        single = np.asarray(array, np.float32)
    ordered, grid = reorder(single, grid)
    return Volume(ordered, grid, sha256, acquisition)


def read_written(path: Path) -> Volume:
    """An image that this program wrote a moment ago: read_image's voxels and grid, without a stranger's checks.

    These decode the file a second time. Raises BadInput where it cannot be read.
    """
    image = _read_checked(path)
    array, grid = reorder(np.asarray(sitk.GetArrayFromImage(image), np.float32), grid_of(image))
    return Volume(array, grid)


def self_contained(path: str | Path) -> tuple[Hashable, ...] | None:
    """What all of read_image's answer for ``path`` comes from, to know the same image again without decoding it.

    None where it is not one file (a DICOM folder, formats whose voxels may lie in another file) or cannot be read.
    Raises BadInput as :func:`existing`.
    """
    path = existing(path)
    name = path.name.lower()
    if path.is_dir() or not name.endswith((".nii", ".nii.gz")):
        return None
    try:
        return name.endswith(".gz"), content_sha256(path), _acquisition(path)
    except OSError:
        return None  # read_image says what is wrong


def read_labels(path: str | Path) -> tuple[np.ndarray, Grid]:
    """The 3-D labelmap at ``path`` as an int32 array [k, j, i] in canonical LPS order, with its grid.

    Float labelmaps are accepted when every value is a whole number. Raises BadInput otherwise.
    """
    image = _read_file(existing(path))
    array = sitk.GetArrayFromImage(image)
    if image.GetPixelID() not in _LABEL_TYPES and not np.array_equal(array, np.round(array)):
        raise BadInput("The label file holds fractions, not whole-number labels; export it as a labelmap.")
    return reorder(array.astype(np.int32), grid_of(image))


def parts(path: Path) -> list[Path]:
    """The files that hold what is read at ``path``: all below a folder; a file, and its voxels' where that is another.

    Raises BadInput where a header's voxels are not beside it, OSError where ``path`` cannot be read.
    """
    return files_below(path) if path.is_dir() else list(dict.fromkeys((path, voxel_file(path))))


def content_sha256(path: Path) -> str:
    """SHA-256 (hex) of the bytes of all ``parts`` of ``path``, in their order; raises as that does."""
    digest = hashlib.sha256()
    for file in parts(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def existing(path: str | Path) -> Path:
    """``path`` when it is a folder or a file that is not empty and has the name of an image or labelmap.

    Raises BadInput otherwise; pipes and devices count as empty, so that nothing waits for them.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return path
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise BadInput("There is no readable file or folder at the path given for the image or regions.") from error
    if size == 0:
        raise BadInput("The file is empty (0 bytes); copy or export it again.")
    if not path.name.lower().endswith(SUFFIXES):
        raise BadInput(
            "The file is not NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd); "
            "for DICOM give the folder of the series."
        )
    return path


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Where to read the file from. Beside x.nii, ITK takes the voxels of x.nii.gz from x.nii: then from elsewhere."""
    if not (path.name.lower().endswith(".nii.gz") and path.with_suffix("").exists()):
        yield path
        return
    folder = temporary_folder()
    try:
        other = folder / "image.nii.gz"
        try:
            other.symlink_to(path.resolve())
        except OSError:  # Windows permits links to few
            shutil.copyfile(path, other)
        yield other
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_file(path: Path) -> sitk.Image:
    check_header(path, voxels=False)
    with _alone(path) as own:
        _, image = both(lambda: check_header(path), lambda: _read_checked(own))
    return image


def _read_checked(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if any(n <= 0 for n in size) or float(np.prod([float(n) for n in size])) > MAX_VOXELS:
            raise BadInput(f"The file claims {' x '.join(map(str, size))} voxels, which is no head scan.")
        if reader.GetNumberOfComponents() != 1:
            raise BadInput("The image has several values per voxel (colour or vector); grey values are needed.")
        if any(n > 1 for n in size[3:]):
            raise BadInput(f"The image is a 4-D series of {size[3]} volumes; one 3-D volume is needed.")
        if len(size) < 3:
            raise BadInput("The image is a single 2-D picture; a 3-D volume is needed.")
        image = reader.Execute()
    except RuntimeError as error:
        if "orthonormal" in str(error).lower() or "shear" in str(error).lower():
            raise BadInput("The image's axes are sheared or singular; resample it to a rectangular grid.") from error
        if "out of memory" in str(error).lower() or "allocate" in str(error).lower():
            raise MemoryError(str(error)) from error
        raise BadInput(UNREADABLE) from error
    return image[(slice(None),) * 3 + (0,) * (image.GetDimension() - 3)]


def sidecar(path: Path) -> Path:
    """Where the BIDS JSON of an image file lies, if there is one."""
    ending = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len, default="")
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.json")


def _acquisition(path: Path) -> Acquisition:
    """Acquisition from a BIDS JSON beside the file (times there are in seconds); empty when there is none."""
    try:
        data = json.loads(sidecar(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return Acquisition()  # a sidecar is optional, and a broken one tells us nothing
    if not isinstance(data, dict):
        return Acquisition()

    def number(key: str, scale: float = 1.0) -> float | None:
        value = data.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < _LARGEST:
            return None
        return float(value) * scale

    return Acquisition(
        repetition_time=number("RepetitionTime", 1000),
        echo_time=number("EchoTime", 1000),
        inversion_time=number("InversionTime", 1000),
        field_strength=number("MagneticFieldStrength"),
    )
