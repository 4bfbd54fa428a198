"""One reader's action on a segment: a tool's mask through Slicer's Segment Editor logic, undoable as one step.

Masking, overwrite mode and intensity range are the editor node's and are honoured by Slicer's own logic. The desktop
and the browser bring their own undo machinery; both use :func:`modifier`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cnsifusion.mrml.segmentation import ensureSegment, markEdited, orientedImage
from cnsifusion.mrml.volumes import NodeGeometry


@dataclass(frozen=True, eq=False)
class Change:
    """What a tool asks for: voxels to add to one of the protocol's segments, or to erase from it.

    ``mask`` is a bool window [k, j, i] whose first voxel lies at ``origin`` (k, j, i) of the canonical grid. ``reason``
    says why the reader rejects a region that is erased as a whole.
    """

    name: str
    mask: np.ndarray
    origin: tuple[int, int, int]
    erase: bool = False
    reason: str = ""


def carryOut(
    changes: Sequence[Change],
    segmentationNode,
    volumeNode,
    geometry: NodeGeometry,
    modify: Callable[[str, object, bool, tuple[int, ...]], None],
) -> str:
    """Make the changes with the face's own ``modify(segmentId, labelmap, erase, extent)``; returns the last segment.

    The caller opens the undo step around it: a new segment, voxels and provenance come and go together.
    """
    segmentId = ""
    for change in changes:
        segmentId = ensureSegment(segmentationNode, change.name)
        labelmap, extent = modifier(change.mask, change.origin, volumeNode, geometry)
        modify(segmentId, labelmap, change.erase, extent)
        markEdited(segmentationNode, segmentId, change.reason)
    return segmentId


def modifier(mask: np.ndarray, origin: tuple[int, int, int], volumeNode, geometry: NodeGeometry):
    """A tool's mask as a modifier labelmap of just its window, and the window's extent on the volume node.

    ``mask`` is a bool array [k, j, i] whose first voxel lies at ``origin`` (k, j, i) of the canonical grid. Pass both
    to ``ModifySegmentByLabelmap`` (or trame-slicer's ``apply_labelmap``): without the extent Slicer scans the image.
    """
    extent = geometry.extentToNode(origin, mask.shape)
    return orientedImage(geometry.toNode(mask), extent, volumeNode), extent
