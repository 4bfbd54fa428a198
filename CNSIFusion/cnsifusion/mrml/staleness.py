"""Whether the case's result is still one of what is shown: its image, its regions and the chosen model."""

from __future__ import annotations

import zlib

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from cnsifusion.analysis.result import PatientResult
from cnsifusion.errors import BadInput
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.drawn import Remembered
from cnsifusion.mrml.models import ModelCard
from cnsifusion.mrml.segmentation import fingerprint
from cnsifusion.mrml.volumes import checkMovedAlike, ijkToRas, worldMatrix

_marks = Remembered()


def imageMark(volumeNode) -> str:
    """A short text that changes with the volume's voxels or its place in the world, kept over a save.

    "" under a non-linear transform, where there is no result of it, and while it has no voxels (yet).
    """
    if volumeNode.GetImageData() is None:
        return ""
    try:
        matrix = (worldMatrix(volumeNode) @ ijkToRas(volumeNode)).round(3) + 0.0  # no -0.0
    except BadInput:
        return ""
    image = volumeNode.GetImageData()
    checksum = _marks.get((image.GetMTime(), image.GetDimensions()), lambda: _checksum(image))
    return f"{zlib.crc32(matrix.tobytes(), checksum):08x}"


def markAndPlace(case: CaseState) -> tuple:
    """The image's mark, and under which transforms it and its regions are."""
    nodes = [node for node in (case.volume, case.segmentation) if node is not None]
    return imageMark(case.volume), *(node.GetTransformNodeID() for node in nodes)


def staleness(case: CaseState, result: PatientResult, card: ModelCard | None) -> str:
    """Why the result is none of what is shown now, as a sentence; "" where it is.

    ``card`` is that of the chosen model, None where it is not known (yet).
    """
    if case.segmentation is None or case.analyzedRegions != fingerprint(case.segmentation):
        return "The regions changed since this result: analyze again."
    try:
        checkMovedAlike(case.segmentation, case.volume)
    except BadInput as error:
        return str(error)
    if case.analyzedImage and case.analyzedImage != imageMark(case.volume):
        return "The image changed or moved since this result: analyze again."
    if card is not None and card.sha256 != result.provenance.get("bundle_sha256"):
        return "This result is of another model than the one chosen: analyze again."
    return ""


def _checksum(image) -> int:
    voxels = np.ascontiguousarray(vtk_to_numpy(image.GetPointData().GetScalars()))
    return zlib.crc32(voxels.data, zlib.crc32(str(image.GetDimensions()).encode()))
