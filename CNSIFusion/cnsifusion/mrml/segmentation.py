"""Regions in a segmentation node and back: the protocol's names, codes, colours and provenance on every segment."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import vtk
from slicer import vtkOrientedImageData, vtkSegment, vtkSegmentation

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.imaging.grid import triple
from cnsifusion.mrml.drawn import (
    LABELMAP,
    Piece,
    Remembered,
    orientedImage,
    segmentIdOf,
    segmentMask,
    stamp,
    take,
    voxelsOf,
    whole,
)
from cnsifusion.mrml.volumes import NodeGeometry
from cnsifusion.roi import region_details
from cnsifusion.roi.morphology import bounds
from cnsifusion.roi.names import NO_CODE, PART_CODES, PARTS, REGIONS, SEGMENTS, VENTRICLES, SegmentName
from cnsifusion.roi.region_io import EDITED_TAG, ORIGIN_TAG, PART_SEGMENTS
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.tools.parts import assign_parts

#: Why a reader rejected the region; it counts while the segment is empty.
REJECTED_TAG = "CNSIFusion.Rejected"
#: Fingerprint of the voxels as they came, from a proposal or a file: other tools (Slicer's brushes, a region drawn over
#: this one) change them without telling us.
_CAME_TAG = "CNSIFusion.CameAs"
ALGORITHM_TYPE_TAG, ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
#: roi.region_details: a tag of every region, so that undo brings the former details back with the former regions (or
#: takes them away with the first ones); an attribute of the node where there is no region.
_DETAILS = "CNSIFusion.RegionDetails"
_UNFIT = "What the scene keeps of an earlier proposal (foci, mid-plane, notes) does not fit this image: propose again."
_ALGORITHM_TYPES = {"automatic": "AUTOMATIC", "semiautomatic": "SEMIAUTOMATIC", "manual": "MANUAL"}
_fingerprints = Remembered()


def addSegmentationNode(scene, volumeNode):
    """A new segmentation node on the volume's grid, under the same parent transform, without segments."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volumeNode.GetName()} regions")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.GetDisplayNode().SetOpacity2DFill(0.25)
    return node


def showRegions(regions: RegionSet, segmentationNode, volumeNode) -> None:
    """Put the regions into the node, replacing segments of the same protocol names (others stay).

    Regions without a mid-plane are no whole proposal but a file of some masks: what the node knows beside its masks
    (mid-plane, foci, why other regions were withheld) stays.

    Raises BadInput when the regions are not on the volume's grid.
    """
    geometry = NodeGeometry(volumeNode)
    if not regions.grid.is_close(geometry.grid):
        raise BadInput("The regions belong to another image: their grid differs from the chosen volume's.")
    known = proposalDetails(segmentationNode, geometry)  # a segment that goes may hold it
    wasModifying = segmentationNode.StartModify()
    try:
        for name in SEGMENTS:
            if name in regions.masks:
                _showRegion(regions, name, segmentationNode, volumeNode, geometry)
        if VENTRICLES in regions.masks:
            _removeParts(segmentationNode)
            _showParts(regions, segmentationNode, volumeNode, geometry)
        _keepDetails(_completed(regions, known), segmentationNode)
    finally:
        segmentationNode.EndModify(wasModifying)


def regionsFromNode(segmentationNode, volumeNode) -> RegionSet:
    """The protocol's regions of a segmentation on the volume's canonical grid.

    Segments drawn on another grid or under another (linear) transform are resampled to the nearest voxel. Empty
    segments count as not drawn. Raises BadInput for a non-linear transform.
    """
    return regionsReader(segmentationNode, volumeNode)()


def regionsReader(segmentationNode, volumeNode) -> Callable[[], RegionSet]:
    """:func:`regionsFromNode` in two parts: the voxels are taken now, whole arrays made when the answer is called.

    The second part knows no node, so it may run in another thread while the reader goes on drawing.
    """
    geometry = NodeGeometry(volumeNode)
    regions = proposalDetails(segmentationNode, geometry)
    segmentation = segmentationNode.GetSegmentation()
    taken: list[tuple[str, Piece]] = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        name = segment.GetName()
        if name not in SEGMENTS and _partOf(name) is None:
            continue
        if segmentIdOf(segmentationNode, name) != segmentId:
            continue  # of two segments with the same name the first is the one that is shown and edited
        piece = take(segmentationNode, segmentId, volumeNode)
        if piece is None:
            if rejected := rejection(segment):
                regions.withheld[name] = rejected
            continue
        taken.append((name, piece))
        if name in SEGMENTS:
            regions.origin[name] = tagValue(segment, ORIGIN_TAG) or "manual"
            if isEdited(segmentationNode, segmentId):
                regions.edited.add(name)

    def read() -> RegionSet:
        parts = np.zeros(geometry.grid.shape, np.uint8)
        for name, piece in taken:
            mask = whole(piece, geometry)
            part = _partOf(name)
            if part is not None:
                parts[mask] = part
            elif mask.any():
                regions.masks[name] = mask
        regions.origin = {name: how for name, how in regions.origin.items() if name in regions.masks}
        regions.edited &= set(regions.masks)
        if VENTRICLES in regions.masks and parts.any():
            regions.parts = assign_parts(regions.masks[VENTRICLES], parts, geometry.grid.spacing)
        regions.withheld = {name: why for name, why in regions.withheld.items() if name not in regions.masks}
        return regions

    return read


def assignSegment(segmentationNode, segmentId: str, name: str) -> None:
    """Give an existing segment one of the protocol's names, with its codes, colour and provenance "imported".

    Raises BadInput for an unknown name or one that another segment has already.
    """
    if name not in SEGMENTS:
        raise BadInput(f"“{name}” is not one of the protocol's regions ({', '.join(SEGMENTS)}).")
    other = segmentIdOf(segmentationNode, name)
    if other and other != segmentId:
        raise BadInput(f"There is a segment “{name}” already; remove or rename that one first.")
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    _dress(segment, SEGMENTS[name])
    if not tagValue(segment, ORIGIN_TAG):
        segment.SetTag(ORIGIN_TAG, "imported")
        segment.SetTag(_CAME_TAG, _fingerprintOf(segmentationNode, segmentId))
    segmentationNode.Modified()


def keepPartsHidden(segmentationNode) -> int:
    """Hide the ventricles' parts whenever undo or redo brings them back; they only label.

    Returns the tag with which to end it: ``segmentationNode.GetSegmentation().RemoveObserver(tag)``.
    """

    @vtk.calldata_type(vtk.VTK_STRING)
    def hide(_segmentation, _event, segmentId: str) -> None:
        if _partOf(segmentId) is not None:  # by its id, which we made of the name: undo sets the name later
            segmentationNode.GetDisplayNode().SetSegmentVisibility(segmentId, False)

    return segmentationNode.GetSegmentation().AddObserver(vtkSegmentation.SegmentAdded, hide)


def ensureSegment(segmentationNode, name: str) -> str:
    """Id of the protocol's segment, made empty if it does not exist yet."""
    segmentId = segmentIdOf(segmentationNode, name)
    if not segmentId:
        segment = vtkSegment()
        _dress(segment, SEGMENTS[name])
        segmentId = segmentationNode.GetSegmentation().GenerateUniqueSegmentID(name)
        segmentationNode.GetSegmentation().AddSegment(segment, segmentId)
    return segmentId


def markEdited(segmentationNode, segmentId: str, rejected: str = "") -> None:
    """Record that a reader changed this segment with one of our tools; call it right after the change.

    ``rejected`` is the reader's reason for taking the whole region away; any other change takes it back.

    Slicer's undo history decides by a labelmap's time stamp whether a segment changed since the last state. An edit in
    place moves it in Slicer 5.11 and 5.13 (tested); 5.10 and 5.12 were not at hand, and where it did not move, undo
    would bring back wrong voxels: hence the touch.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    labelmap = segment.GetRepresentation(LABELMAP)
    if labelmap is not None:
        labelmap.Modified()
    segment.SetTag(EDITED_TAG, "1")
    segment.RemoveTag(REJECTED_TAG)
    if rejected:
        segment.SetTag(REJECTED_TAG, rejected)
    if not tagValue(segment, ORIGIN_TAG):
        segment.SetTag(ORIGIN_TAG, "semiautomatic")
    segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC")
    segment.SetTag(ALGORITHM_NAME_TAG, f"CNSIFusion {__version__}")


def isEdited(segmentationNode, segmentId: str) -> bool:
    """Whether a reader changed a segment since it came, with one of our tools or any other."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if tagValue(segment, EDITED_TAG):
        return True
    came = tagValue(segment, _CAME_TAG)
    return bool(came) and came != _fingerprintOf(segmentationNode, segmentId)


def isHandmade(segmentationNode) -> bool:
    """Whether a reader changed any segment since it came: work that no proposal brings back."""
    return any(isEdited(segmentationNode, each) for each in segmentationNode.GetSegmentation().GetSegmentIDs())


def fingerprint(segmentationNode) -> str:
    """A short text that changes when any protocol segment's voxels change, and survives saving and loading.

    Empty where nothing is drawn.
    """
    segmentation = segmentationNode.GetSegmentation()
    named = ((i, segmentation.GetSegment(i).GetName()) for i in segmentation.GetSegmentIDs())
    return _fingerprint(segmentationNode, [(segmentId, name) for segmentId, name in named if name in SEGMENTS])


def _fingerprintOf(segmentationNode, segmentId: str) -> str:
    """The same for one segment; never empty."""
    name = segmentationNode.GetSegmentation().GetSegment(segmentId).GetName()
    return _fingerprint(segmentationNode, [(segmentId, name)]) or "nothing"


def _fingerprint(segmentationNode, regions: list[tuple[str, str]]) -> str:
    stamps = tuple((name, stamp(segmentationNode, segmentId)) for segmentId, name in regions)
    return _fingerprints.get(stamps, lambda: _checksum(segmentationNode, regions))


def _checksum(segmentationNode, regions: list[tuple[str, str]]) -> str:
    total, drawn = 0, False
    for segmentId, name in regions:
        image = vtkOrientedImageData()
        if not segmentationNode.GetBinaryLabelmapRepresentation(segmentId, image):
            continue
        piece = voxelsOf(image)
        if piece is not None:
            values, first = piece
            where = np.unravel_index(np.flatnonzero(values), values.shape)  # ten times as fast as argwhere
            place = np.stack([axis + start for axis, start in zip(where, first)]).astype(np.int32)
            total, drawn = zlib.crc32(place.tobytes(), zlib.crc32(name.encode(), total)), True
    return f"{total:08x}" if drawn else ""


def regionCentre(segmentationNode, volumeNode) -> tuple[float, float, float] | None:
    """The voxel (LPS, mm) in the middle of the sub-lentiform regions, what a reader wants to see first, or None."""
    geometry = NodeGeometry(volumeNode)
    found = [
        np.argwhere(segmentMask(segmentationNode, segmentId, volumeNode, geometry))
        for name in REGIONS["sublentiform"]
        if (segmentId := segmentIdOf(segmentationNode, name))
    ]
    voxels = np.concatenate(found) if found else np.zeros((0, 3))
    if not len(voxels):
        return None
    return triple(geometry.grid.to_lps(np.rint(voxels.mean(axis=0))[::-1]))


def regionsInfo(segmentationNode) -> tuple[dict[str, str], list[str]]:
    """Why regions were withheld (sentences by name) and the proposal's notes."""
    try:
        withheld, notes = region_details.sentences(_readDetails(segmentationNode))
    except BadInput:
        withheld, notes = {}, [_UNFIT]
    rejected = {segment.GetName(): why for segment in _segments(segmentationNode) if (why := rejection(segment))}
    return {**withheld, **rejected}, notes


def whyMissing(segmentationNode) -> dict[str, str]:
    """Why regions were withheld or rejected: sentences that name them, by name."""
    withheld, _notes = regionsInfo(segmentationNode)
    return {name: why if name in why else f"{name}: {why}" for name, why in withheld.items()}


def rejection(segment) -> str:
    """Why the reader rejected this region, as a sentence for the others; "" where it was not rejected."""
    reason = tagValue(segment, REJECTED_TAG)
    return f"The reader rejected {segment.GetName()} ({reason})." if reason else ""


def proposalDetails(segmentationNode, geometry: NodeGeometry) -> RegionSet:
    """A RegionSet without masks: mid-plane, foci, what was withheld and the notes, as the node keeps them.

    The scene may be a stranger's: where they do not fit, one note says so instead.
    """
    regions = RegionSet(geometry.grid)
    try:
        if details := _readDetails(segmentationNode):
            region_details.apply(details, regions, same_grid=True)
    except BadInput:
        return RegionSet(geometry.grid, notes=[_UNFIT])
    return regions


def tagValue(segment, tag: str) -> str:
    """A segment's tag, "" where it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(tag, value) else ""


def _showRegion(regions: RegionSet, name: str, segmentationNode, volumeNode, geometry) -> None:
    segmentId = segmentIdOf(segmentationNode, name)
    if segmentId:
        segmentationNode.GetSegmentation().RemoveSegment(segmentId)
    segment = vtkSegment()
    _dress(segment, SEGMENTS[name])
    origin = regions.origin.get(name, "automatic")
    segment.SetTag(ORIGIN_TAG, origin)
    if name in regions.edited:
        segment.SetTag(EDITED_TAG, "1")
    if origin in _ALGORITHM_TYPES:
        edited = name in regions.edited and origin == "automatic"
        segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC" if edited else _ALGORITHM_TYPES[origin])
        segment.SetTag(ALGORITHM_NAME_TAG, f"CNSIFusion {__version__}")
    segmentId = _addSegment(segmentationNode, segment, regions.masks[name], volumeNode, geometry)
    segment.SetTag(_CAME_TAG, _fingerprintOf(segmentationNode, segmentId))


def _showParts(regions: RegionSet, segmentationNode, volumeNode, geometry) -> None:
    if regions.parts is None:
        return
    ventricles = SEGMENTS[VENTRICLES]
    for value, part in PARTS.items():
        segment = vtkSegment()
        code = PART_CODES[part]
        _dress(segment, SegmentName(PART_SEGMENTS[value], "none", ventricles.category, code, ventricles.color))
        segmentId = _addSegment(segmentationNode, segment, regions.parts == value, volumeNode, geometry)
        segmentationNode.GetDisplayNode().SetSegmentVisibility(segmentId, False)


def _removeParts(segmentationNode) -> None:
    segmentation = segmentationNode.GetSegmentation()
    for segmentId in segmentation.GetSegmentIDs():
        if _partOf(segmentation.GetSegment(segmentId).GetName()) is not None:
            segmentation.RemoveSegment(segmentId)


def _addSegment(segmentationNode, segment, mask: np.ndarray, volumeNode, geometry) -> str:
    box = bounds(mask)
    window = mask[box]
    if window.size:  # only the box that is used: undo states copy the labelmaps
        origin = tuple(s.start for s in box)
        extent = geometry.extentToNode(origin, window.shape)
        segment.AddRepresentation(LABELMAP, orientedImage(geometry.toNode(window), extent, volumeNode))
    segmentId = segmentationNode.GetSegmentation().GenerateUniqueSegmentID(segment.GetName())
    segmentationNode.GetSegmentation().AddSegment(segment, segmentId)
    return segmentId


def _dress(segment, name: SegmentName) -> None:
    segment.SetName(name.name)
    segment.SetColor(*name.color)
    modifier = name.side_code.text if name.side_code else NO_CODE
    terms = ["CNSIFusion", name.category.text, name.type.text, modifier, "CNSIFusion", NO_CODE, NO_CODE]
    segment.SetTag(segment.GetTerminologyEntryTagName(), "~".join(terms))


def _partOf(name: str) -> int | None:
    return {segmentName: value for value, segmentName in PART_SEGMENTS.items()}.get(name)


def _completed(regions: RegionSet, known: RegionSet) -> RegionSet:
    """The regions, with what is known of the head where they do not say it themselves."""
    if regions.midplane is not None:
        return regions
    withheld = {name: why for name, why in known.withheld.items() if name not in regions.masks}
    foci = regions.foci or known.foci
    return replace(regions, midplane=known.midplane, foci=foci, withheld={**withheld, **regions.withheld})


def _keepDetails(regions: RegionSet, segmentationNode) -> None:
    text = region_details.to_text(replace(regions, parts=None, origin={}, edited=set()))  # these are in the segments
    drawn = [segment for segment in _segments(segmentationNode) if segment.GetName() in SEGMENTS]
    for holder in drawn:
        holder.SetTag(_DETAILS, text)
    if not drawn:
        segmentationNode.SetAttribute(_DETAILS, text)


def _readDetails(segmentationNode) -> dict | None:
    kept = (tagValue(segment, _DETAILS) for segment in _segments(segmentationNode))
    return region_details.from_text(next(filter(None, kept), "") or segmentationNode.GetAttribute(_DETAILS))


def _segments(segmentationNode) -> list[vtkSegment]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetSegment(segmentId) for segmentId in segmentation.GetSegmentIDs()]
