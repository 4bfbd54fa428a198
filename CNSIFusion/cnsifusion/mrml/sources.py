"""Where a volume of the scene came from: the file or DICOM series that still holds the very same voxels.

A volume's own series says more than its voxels (TR, TE, field strength, for the out-of-distribution check), and SEG and
SR must refer to its instances. Only what is the same image, bit by bit, is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume, atomic_path, read_image
from cnsifusion.imaging.dicom import UNREADABLE_HEADER, gather_series, patient_key, read_dicom, series_files
from cnsifusion.imaging.folders import files_below
from cnsifusion.mrml.volumes import SOURCE_ATTRIBUTE, ijkToRas, volumeFromNode
from cnsifusion.roi.region_io import write_regions
from cnsifusion.roi.regions import RegionSet

#: Slicer's DICOM module writes the instances' UIDs here, separated by blanks.
INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"

#: Files of SOP instance UIDs, in their order; empty where the face has no DICOM database. Called in the face's thread.
InstanceFiles = Callable[[Sequence[str]], list[Path]]


class Sources:
    """The files behind the volumes of one session."""

    def __init__(self, instanceFiles: InstanceFiles = lambda uids: []):
        self.instanceFiles = instanceFiles
        self._loaded: dict[str, tuple[Path, tuple]] = {}
        self._origins: dict[str, tuple[str, str]] = {}
        self._names: dict[str, str] = {}

    def remember(self, volumeNode, path: Path) -> None:
        """The session read the volume from this file or DICOM folder just now."""
        self._loaded[volumeNode.GetID()] = (path.resolve(), _asItIs(volumeNode))
        files = next(iter(series_files(path).values()), []) if path.is_dir() else []
        if files:
            self._origins[volumeNode.GetID()] = _origin(files[0])
        words = _seriesName(files[0]) if files else ""
        self._names[volumeNode.GetID()] = words or "/".join(path.resolve().parts[-2:])

    def name(self, volumeNode) -> str:
        """Which image it is, for the reader's eyes: patient, date and series as DICOM has them, else file and folder.

        "" for a volume that the session did not read itself.
        """
        return self._names.get(volumeNode.GetID(), "")

    def forget(self, *volumeNodes) -> None:
        """These volumes (None for none) leave the scene: their node ids may name others later."""
        for node in filter(None, volumeNodes):
            for known in (self._loaded, self._origins, self._names):
                known.pop(node.GetID(), None)

    def forgetAll(self) -> None:
        """The scene was closed: its node ids will name other volumes."""
        for known in (self._loaded, self._origins, self._names):
            known.clear()

    def patient(self, volumeNode) -> str:
        """Which patient's the volume is, as the DICOM files say that it was read from; "" where unknown.

        Of volumes from Slicer's database too: its subject hierarchy puts patients with the same number into one.
        """
        return self._origin(volumeNode)[0]

    def frame(self, volumeNode) -> str:
        """The volume's frame of reference, by its DICOM files' identifier; "" where unknown."""
        return self._origin(volumeNode)[1]

    def _origin(self, volumeNode) -> tuple[str, str]:
        number = volumeNode.GetID()
        if number not in self._origins:
            # nothing is remembered where there is no file: the database may be opened later
            first = self.instanceFiles(_instances(volumeNode)[:1])
            self._origins.update((number, _origin(file)) for file in first)
        return self._origins.get(number, ("", ""))

    def unchanged(self, volumeNode) -> Path | None:
        """What the session read the volume from, while neither its voxels nor its place were changed."""
        path, loaded = self._loaded.get(volumeNode.GetID(), (None, ()))
        return path if path and loaded == _asItIs(volumeNode) and path.exists() else None

    def hasSeries(self, volumeNode) -> bool:
        """Whether the volume says it came from a DICOM series: cheap, for drawing; the files may still be gone."""
        folder = volumeNode.GetAttribute(SOURCE_ATTRIBUTE)
        return bool(volumeNode.GetAttribute(INSTANCES_ATTRIBUTE)) or bool(folder and Path(folder).is_dir())

    def handOver(self, volumeNode) -> Callable[[Path], Path]:
        """For a thread: gives the image as the child may read it (its own file or series where that is the same image,
        else its voxels as the scene has them), written into the folder it is called with.
        """
        source = self.unchanged(volumeNode)
        if source:
            return lambda folder: source
        series, volume = self.seriesFiles(volumeNode), volumeFromNode(volumeNode)
        return lambda folder: _sameSeries(series, volume, folder / "series") or _writeFast(volume, folder)

    def request(
        self,
        volumeNode,
        command: str,
        regions: Callable[[], RegionSet] | None = None,
        out: str = "",
        bundle: Path | str = "",
    ) -> Callable[[Path], dict]:
        """For a thread: hands over the image, and regions where they are given; gives the engine's request."""
        image = self.handOver(volumeNode)

        def prepare(folder: Path) -> dict:
            request = {"command": command, "image": str(image(folder)), "out": str(folder / out)}
            if bundle:
                request["bundle"] = str(bundle)
            if regions is not None:
                write_regions(regions(), folder / "given.seg.nrrd")
                request["rois"] = str(folder / "given.seg.nrrd")
            return request

        return prepare

    def seriesFiles(self, volumeNode) -> list[Path]:
        """Files of the DICOM series the volume was loaded from, by us or by Slicer; empty where there is none."""
        folder = volumeNode.GetAttribute(SOURCE_ATTRIBUTE)
        if folder and Path(folder).is_dir():
            return files_below(Path(folder))
        instances = _instances(volumeNode)
        files = self.instanceFiles(instances)
        return files if len(files) == len(instances) and all(path.is_file() for path in files) else []


def _seriesName(file: Path) -> str:
    """Patient, date and description of a DICOM file's series; "" where it has none of them."""
    name, date, series = _texts(file, "PatientName", "StudyDate", "SeriesDescription")
    return ", ".join(filter(None, (name.replace("^", " ").strip(), date, series)))


def _origin(file: Path) -> tuple[str, str]:
    """Whose a DICOM file is (see patient_key) and its frame of reference, each "" where it does not say."""
    (frame,) = _texts(file, "FrameOfReferenceUID")
    return patient_key(file), frame


def _texts(file: Path, *tags: str) -> tuple[str, ...]:
    """What a DICOM file's header says under ``tags``, "" each where it cannot be read."""
    try:
        header = read_dicom(file, stop_before_pixels=True, specific_tags=list(tags))
        return tuple(str(header.get(tag) or "").strip() for tag in tags)  # damaged ones raise only here
    except UNREADABLE_HEADER:
        return ("",) * len(tags)


def _asItIs(volumeNode) -> tuple:
    """Voxels (by their time stamp), grid and transform of a volume; Slicer's Volumes module centres images in place."""
    grid = tuple(ijkToRas(volumeNode).ravel())
    return volumeNode.GetImageData().GetMTime(), grid, volumeNode.GetTransformNodeID()


def _instances(volumeNode) -> list[str]:
    """SOP instance UIDs of the series that Slicer's DICOM module loaded the volume from; empty for other volumes."""
    return (volumeNode.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()


def _sameSeries(files: Sequence[Path], volume: Volume, folder: Path) -> Path | None:
    """A folder with the series of ``files`` when it reads as this very volume, otherwise None."""
    if not files:
        return None
    try:
        read = read_image(gather_series(files, folder))
    except BadInput:
        return None  # what Slicer could load our reader may refuse (uneven slices): the voxels themselves will do
    return folder if read.grid.is_close(volume.grid) and np.array_equal(read.array, volume.array) else None


def _writeFast(volume: Volume, folder: Path) -> Path:
    """Write without compression: the child reads it once and it is deleted."""
    with atomic_path(folder / "image.nrrd") as temporary:
        sitk.WriteImage(volume.to_sitk(), str(temporary), useCompression=False)
    return folder / "image.nrrd"
