"""What a point in a slice view means: the reader's tools on one case, the same for the Qt effect and the browser's.

The mathematics is in :mod:`cnsifusion.roi.tools`; here is the state of one reader's hand: the tool, its settings, the
stroke, the outline to draw and the sentence to say. Positions are LPS mm, outlines edges (n, 2, 3) in LPS mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.contour import outline
from cnsifusion.mrml.segmentation import proposalDetails, segmentIdOf, segmentMask
from cnsifusion.mrml.volumes import NodeGeometry, volumeFromNode
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SEGMENTS, VENTRICLES
from cnsifusion.roi.regions import Focus
from cnsifusion.roi.tools.csf import CsfSettings, grow_stroke
from cnsifusion.roi.tools.pvs import PvsSettings, detect, focus_at, focus_mask, is_accepted, visible
from cnsifusion.roi.tools.result import ToolResult
from cnsifusion.roi.tools.shape import polygon

NONE, CSF, PVS, OUTLINE = "none", "csf", "pvs", "outline"
_ERASE_COLOR = (1.0, 0.45, 0.45)
_TURN = 0.05

#: Tells the face to change the segment: (protocol name, bool window [k, j, i], its origin (k, j, i), erase).
Apply = Callable[[str, np.ndarray, tuple[int, int, int], bool], None]


@dataclass(frozen=True)
class ToolInfo:
    """A tool's word, what it does in one sentence, and the name of its slider ("" for none)."""

    key: str
    label: str
    tooltip: str
    slider: str = ""


TOOLS = {
    tool.key: tool
    for tool in (
        ToolInfo(NONE, "View", "Look only: the mouse belongs to the view."),
        ToolInfo(CSF, "CSF", "Hover to see what a click would add; click or drag to grow over CSF.", "Tolerance"),
        ToolInfo(PVS, "PVS", "Hover a bright dot; click to accept or reject it.", "Sensitivity"),
        ToolInfo(OUTLINE, "Outline", "Drag around an area to add it (or to erase it)."),
    )
}


def toolsFor(segmentName: str) -> list[str]:
    """Keys of the tools that make sense for a segment of the protocol."""
    if segmentName in (PVS_LEFT, PVS_RIGHT):
        return [NONE, PVS, CSF, OUTLINE]
    return [NONE, CSF, OUTLINE] if segmentName == VENTRICLES else [NONE, OUTLINE]


@dataclass(frozen=True)
class FocusRow:
    """One PVS-like focus of the list: its words, its centre (LPS, mm) and whether it is part of its segment."""

    index: int
    text: str
    position: tuple[float, float, float]
    accepted: bool


class ToolController:
    """One reader's hand on one case. A face sets the attributes, forwards its mouse and draws what comes back.

    ``tool`` is a key of TOOLS, ``segmentName`` the protocol's segment to change (PVS choose their side themselves),
    ``tolerance`` 0.05-0.95 and ``sensitivity`` 0-1 the sliders, ``neighbours`` the slices on each side that a click
    works on too. ``message`` says why a click here would do nothing ("" where it would).
    """

    def __init__(self, segmentationNode, volumeNode, apply: Apply):
        self.segmentationNode, self.volumeNode = segmentationNode, volumeNode
        self.geometry = NodeGeometry(volumeNode)
        self.tool, self.segmentName, self.message = NONE, VENTRICLES, ""
        self.tolerance, self.sensitivity, self.erase, self.neighbours = 0.5, 0.5, False, 0
        self._apply = apply
        self._array = volumeFromNode(volumeNode).array
        self._details = proposalDetails(segmentationNode, self.geometry)
        self._hovered: tuple | None = None
        self._hover = _nothing()
        self._stroke: list[tuple[float, float, int]] = []
        self._drawn = _nothing()

    def useSettings(self, case: CaseState) -> None:
        """Take the tool and its settings from the case."""
        self.tool, self.segmentName, self.erase = case.tool, case.segmentName, case.erase
        self.tolerance, self.sensitivity, self.neighbours = case.tolerance, case.sensitivity, case.neighbours
        self.forget()

    @property
    def available(self) -> list[str]:
        """Keys of the tools that make sense for the chosen segment."""
        return toolsFor(self.segmentName)

    @property
    def foci(self) -> list[Focus]:
        """The proposal's PVS-like foci at the present sensitivity."""
        return visible(self._details.foci, self.sensitivity)

    def focusRows(self) -> list[FocusRow]:
        """The list of foci, those of the left first, from the lowest slice up."""
        masks = {side: self._mask(_pvsName(side)) for side in ("left", "right")}
        ordered = sorted(enumerate(self.foci), key=lambda item: (item[1].side, item[1].ijk[2]))
        return [
            FocusRow(index, _focusText(focus), focus.lps, is_accepted(focus, masks[focus.side]))
            for index, focus in ordered
        ]

    def accepted(self, focus: Focus) -> bool:
        """Whether the focus is part of its side's segment."""
        return is_accepted(focus, self._mask(_pvsName(focus.side)))

    def toggle(self, focus: Focus) -> None:
        """Accept the focus, or reject it when it is accepted."""
        name, result = _pvsName(focus.side), focus_mask(focus)
        self._commit(name, result, erase=self.accepted(focus))

    # The mouse

    def hover(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The outline of what a click here would change on this slice."""
        point = self._voxel(lps)
        if point is None or self.tool in (NONE, OUTLINE):
            self.message, self._hovered = "", None
            return _NO_EDGES
        if point != self._hovered:
            self._hovered, self._hover = point, self._at(point, neighbours=0)
            self.message = self._hover.reason
        return self._edges(self._hover, point[0])

    def press(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The button went down: begin a stroke."""
        self._stroke, self._drawn = [], _nothing()
        return self.drag(lps)

    def drag(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The mouse moved with the button down; returns the outline of the stroke so far."""
        point = self._voxel(lps)
        if point is None or (self._stroke and point[0] != self._stroke[0][2]):
            return self._strokeEdges()
        i, j, _ = self.geometry.grid.to_ijk(lps)
        if self.tool == OUTLINE:
            self._stroke.append((float(i), float(j), point[0]))
        elif not self._stroke or (self.tool == CSF and self._voxelOf(self._stroke[-1]) != point):
            self._stroke.append((float(i), float(j), point[0]))
            self._drawn = _union(self._drawn, self._at(point, self.neighbours))
        return self._strokeEdges()

    def release(self) -> None:
        """The button went up: apply the stroke as one action, or say why there is nothing to do."""
        stroke, self._stroke = self._stroke, []
        if not stroke:
            return
        if self.tool == PVS:
            self._clickFocus(self._voxelOf(stroke[0]))
        elif self.tool == OUTLINE:
            points = np.array([(i, j) for i, j, _ in stroke])
            self._commit(self.segmentName, polygon(points, stroke[0][2], self.geometry.grid.shape), self.erase)
        elif self.tool == CSF:
            self._commit(self.segmentName, self._drawn, self.erase)
        self._drawn = _nothing()

    def leave(self) -> None:
        """The mouse left the view."""
        self.message, self._hovered = "", None

    def turn(self, steps: int) -> None:
        """The wheel was turned with a modifier key: change the tool's slider."""
        if self.tool == PVS:
            self.sensitivity = float(np.clip(self.sensitivity + steps * _TURN, 0.0, 1.0))
        else:
            self.tolerance = float(np.clip(self.tolerance + steps * _TURN, 0.05, 0.95))
        self._hovered = None

    def forget(self) -> None:
        """Settings or voxels changed: compute the next hover anew."""
        self._hovered, self._stroke, self._drawn, self.message = None, [], _nothing(), ""

    def color(self) -> tuple[float, float, float]:
        """RGB 0-1 of the outline: the segment's, or the colour of erasing."""
        return _ERASE_COLOR if self.erase else SEGMENTS[self.segmentName].color

    # Inside

    def _at(self, point: tuple[int, int, int], neighbours: int) -> ToolResult:
        if self.tool == PVS:
            focus = self._focusAt(point)
            return focus_mask(focus) if focus else self._detected(point)
        settings = CsfSettings(tolerance=self.tolerance, neighbours=neighbours)
        return grow_stroke(self._array, self.geometry.grid.spacing, [point], settings)

    def _focusAt(self, point: tuple[int, int, int]) -> Focus | None:
        return focus_at(self.foci, point, self.geometry.grid.spacing)

    def _detected(self, point: tuple[int, int, int]) -> ToolResult:
        return detect(self._array, self.geometry.grid.spacing, point, PvsSettings(sensitivity=self.sensitivity))

    def _clickFocus(self, point: tuple[int, int, int]) -> None:
        focus = self._focusAt(point)
        if focus is not None:
            self.toggle(focus)
        else:
            self._commit(self._pvsNameAt(point), self._detected(point), self.erase)

    def _pvsNameAt(self, point: tuple[int, int, int]) -> str:
        midplane = self._details.midplane
        if midplane is None:
            return self.segmentName if self.segmentName in (PVS_LEFT, PVS_RIGHT) else PVS_LEFT
        onLeft = float(midplane.distance(self.geometry.grid.to_lps(point[::-1]))) > 0
        return PVS_LEFT if onLeft else PVS_RIGHT

    def _commit(self, name: str, result: ToolResult, erase: bool) -> None:
        """Apply what really changes; say so when nothing does."""
        self._hovered = None
        self.message = result.reason
        if not result.mask.any():
            return
        window = tuple(slice(o, o + n) for o, n in zip(result.origin, result.mask.shape))
        present = self._mask(name)[window]
        change = result.mask & present if erase else result.mask & ~present
        if change.any():
            self._apply(name, change, result.origin, erase)
        else:
            self.message = f"Nothing of {name} is here." if erase else f"This belongs to {name} already."

    def _mask(self, name: str) -> np.ndarray:
        segmentId = segmentIdOf(self.segmentationNode, name)
        if not segmentId:
            return np.zeros(self.geometry.grid.shape, bool)
        return segmentMask(self.segmentationNode, segmentId, self.volumeNode, self.geometry)

    def _voxel(self, lps: tuple[float, float, float]) -> tuple[int, int, int] | None:
        ijk = np.rint(self.geometry.grid.to_ijk(np.array(lps))).astype(int)
        inside = np.all(ijk >= 0) and np.all(ijk < self.geometry.grid.size)
        return (int(ijk[2]), int(ijk[1]), int(ijk[0])) if inside else None

    @staticmethod
    def _voxelOf(place: tuple[float, float, int]) -> tuple[int, int, int]:
        return place[2], round(place[1]), round(place[0])

    def _strokeEdges(self) -> np.ndarray:
        if not self._stroke:
            return _NO_EDGES
        k = self._stroke[0][2]
        if self.tool != OUTLINE:
            return self._edges(self._drawn, k)
        ijk = np.array([(i, j, k) for i, j, k in self._stroke])
        closed = self.geometry.grid.to_lps(np.concatenate([ijk, ijk[:1]]))
        return np.stack([closed[:-1], closed[1:]], axis=1)

    def _edges(self, result: ToolResult, sliceIndex: int) -> np.ndarray:
        return outline(result.mask, result.origin, sliceIndex, self.geometry.grid)


_NO_EDGES = np.zeros((0, 2, 3))


def _nothing() -> ToolResult:
    return ToolResult(np.zeros((1, 1, 1), bool), (0, 0, 0), "")


def _focusText(focus: Focus) -> str:
    kind = ", large: lacune, infarct or pseudocyst possible" if focus.large else ""
    return (
        f"{focus.side}, slice {focus.ijk[2] + 1}, {focus.diameter_mm:.1f} mm, "
        f"contrast {focus.contrast_to_noise:.1f}{kind}"
    )


def _pvsName(side: str) -> str:
    return PVS_LEFT if side == "left" else PVS_RIGHT


def _union(first: ToolResult, second: ToolResult) -> ToolResult:
    """Both masks in one window; the second's reason stands only while there is no mask at all."""
    if not first.mask.any():
        return second
    if not second.mask.any():
        return first
    low = np.minimum(first.origin, second.origin)
    high = np.maximum(np.add(first.origin, first.mask.shape), np.add(second.origin, second.mask.shape))
    mask = np.zeros(tuple(high - low), bool)
    for part in (first, second):
        start = np.subtract(part.origin, low)
        mask[tuple(slice(s, s + n) for s, n in zip(start, part.mask.shape))] |= part.mask
    return ToolResult(mask, (int(low[0]), int(low[1]), int(low[2])), "")
