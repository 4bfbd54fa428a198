"""What a point in a slice view means: the reader's tools on one case, the same for the Qt effect and the browser's.

The mathematics is in :mod:`cnsifusion.roi.tools`, what each tool does with the mouse in :mod:`cnsifusion.mrml.hands`;
here is what they share: the tool, its settings, the regions as drawn, the actions on a whole region and the sentence to
say. Positions are LPS mm, outlines edges (n, 2, 3) in LPS mm.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cnsifusion.imaging.grid import triple
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.contour import NO_EDGES
from cnsifusion.mrml.drawn import segmentWindow
from cnsifusion.mrml.editing import Change
from cnsifusion.mrml.hands import FocusHand, GrowHand, Hand, MoveHand, OutlineHand, Place, SplineHand, replacing
from cnsifusion.mrml.readings import statisticsLines
from cnsifusion.mrml.segmentation import proposalDetails, whyMissing
from cnsifusion.mrml.volumes import NodeGeometry, volumeFromNode
from cnsifusion.roi.names import OTHER_SIDE, PVS_LEFT, PVS_RIGHT, SEGMENTS, VENTRICLES
from cnsifusion.roi.regions import Focus, Plane, RegionSet
from cnsifusion.roi.tools.pvs import focus_mask, is_accepted, visible
from cnsifusion.roi.tools.result import ToolResult
from cnsifusion.roi.tools.shape import interpolate, mirror
from cnsifusion.roi.tools.sides import Midline, find_midline

NONE, CSF, PVS, OUTLINE, SPLINE, MOVE = "none", "csf", "pvs", "outline", "spline", "move"
MIRROR, FILL = "mirror", "fill"
#: What the reader has chosen: attributes of a ToolController, and of a case in the browser.
SETTINGS = ("tool", "segmentName", "erase", "tolerance", "sensitivity", "neighbours", "leakGuard", "bothSides")
_ERASE_COLOR = (1.0, 0.45, 0.45)
_TURN = 0.05
#: What a stroke led to stays readable while the mouse rests within this (mm) of where it ended.
_REST_MM = 4.0
#: A view may stand half-way between two slices, where rounding would make a stroke jump from one to the other.
_SAME_SLICE = 0.7

#: Tells the face to carry out the changes as one undo step (see :func:`cnsifusion.mrml.editing.carryOut`).
Apply = Callable[[Sequence[Change]], None]


@dataclass(frozen=True)
class ToolInfo:
    """A tool's (or action's) word, what it does in one sentence, and the name of its slider ("" for none)."""

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
        ToolInfo(SPLINE, "Spline", "Drag the points of the region's outline; press beside the line to pull it there."),
        ToolInfo(MOVE, "Move", "Drag the region to move it; drag from outside it to turn it and change its size."),
    )
}
ACTIONS = {
    action.key: action
    for action in (
        ToolInfo(MIRROR, "Mirror", "Put this region on the other side, across the patient's mid-sagittal plane."),
        ToolInfo(FILL, "Fill between", "Draw the slices that are missing between the drawn ones."),
    )
}
#: Why a reader takes a whole region away, as the report says it.
REJECT_REASONS = ("wrong place", "lesion in the region", "motion or artefact", "outside the image")
_HANDS: dict[str, Callable[[ToolController], Hand]] = {
    CSF: GrowHand, PVS: FocusHand, OUTLINE: OutlineHand, SPLINE: SplineHand, MOVE: MoveHand,
}  # fmt: skip


def toolsFor(segmentName: str) -> list[str]:
    """Keys of the tools that make sense for a segment of the protocol."""
    first = {PVS_LEFT: [PVS, CSF], PVS_RIGHT: [PVS, CSF], VENTRICLES: [CSF]}.get(segmentName, [])
    return [NONE, *first, OUTLINE, SPLINE, MOVE]


def mayTakeBothSides(tool: str, segmentName: str, erase: bool) -> bool:
    """Whether a click can take the matching part on the other side of the head too: growing a region of both sides."""
    return tool == CSF and segmentName == VENTRICLES and not erase


@dataclass(frozen=True)
class FocusRow:
    """One PVS-like focus of the list: what a reader asks of it, where to look (LPS, mm), and whether it is used."""

    index: int
    side: str
    slice: int
    size: str
    brightness: str
    position: tuple[float, float, float]
    accepted: bool


class ToolController:
    """One reader's hand on one case. A face sets the attributes, forwards its mouse and draws what comes back.

    ``tool`` is a key of TOOLS, ``segmentName`` the protocol's segment to change (PVS choose their side themselves),
    ``tolerance`` 0.05-0.95 and ``sensitivity`` 0-1 the sliders, ``neighbours`` the slices on each side that a click
    works on too, ``leakGuard`` whether CSF is kept from running out, ``bothSides`` whether a click on CSF takes what
    matches it on the other side of the head. ``message`` says why a click here would do nothing ("" where it would).
    """

    def __init__(self, segmentationNode, volumeNode, apply: Apply):
        self.segmentationNode, self.volumeNode = segmentationNode, volumeNode
        self.geometry = NodeGeometry(volumeNode)
        self.tool, self.segmentName, self.message = NONE, VENTRICLES, ""
        self.tolerance, self.sensitivity, self.neighbours = 0.5, 0.5, 0
        self.erase, self.leakGuard, self.bothSides = False, True, True
        self.volume = volumeFromNode(volumeNode)
        self._apply = apply
        self._details: RegionSet | None = None
        self._drawn: dict[str, ToolResult] = {}
        self._midlines: dict[int, Midline | None] = {}
        self._hands: dict[str, Hand] = {}
        self._pressedOn: int | None = None
        self._ended: tuple[np.ndarray, str] | None = None
        self._at = np.zeros(3)

    def useSettings(self, case: CaseState) -> None:
        """Take the tool and its settings from the case."""
        for name in SETTINGS:
            setattr(self, name, getattr(case, name))
        self.forget()

    @property
    def available(self) -> list[str]:
        """Keys of the tools that make sense for the chosen segment."""
        return toolsFor(self.segmentName)

    @property
    def preview(self) -> ToolResult | None:
        """What a click at the hovered place would change; None without a tool."""
        hand = self._hand()
        return hand.preview if hand else None

    @property
    def midplane(self) -> Plane | None:
        """The patient's mid-sagittal plane, as far as the proposal found it."""
        return self._proposal().midplane

    def drawn(self, name: str) -> ToolResult:
        """What is drawn of a segment, remembered until something changes."""
        if name not in self._drawn:
            self._drawn[name] = segmentWindow(self.segmentationNode, name, self.volumeNode, self.geometry)
        return self._drawn[name]

    def midlineOf(self, k: int) -> Midline | None:
        """The line of symmetry of slice ``k`` where a click is to work on both sides; found once for each slice."""
        if not (self.bothSides and mayTakeBothSides(self.tool, self.segmentName, self.erase)):
            return None
        if k not in self._midlines:
            width, height, _ = self.volume.spacing
            self._midlines[k] = find_midline(self.volume.array[k], (height, width))
        return self._midlines[k]

    # PVS-like foci

    @property
    def foci(self) -> list[Focus]:
        """The proposal's PVS-like foci at the present sensitivity."""
        return visible(self._proposal().foci, self.sensitivity)

    def focusRows(self) -> list[FocusRow]:
        """The list of foci, those of the left first, from the lowest slice up."""
        ordered = sorted(enumerate(self.foci), key=lambda item: (item[1].side, item[1].ijk[2]))
        return [
            FocusRow(
                index, focus.side, focus.ijk[2] + 1, _sizeText(focus), f"{focus.contrast_to_noise:.1f} x noise",
                self.positionOf(focus), self.accepted(focus),
            )
            for index, focus in ordered
        ]  # fmt: skip

    def positionOf(self, focus: Focus) -> tuple[float, float, float]:
        """Where the views go to see the focus: its middle voxel, on the slice that the list names."""
        return triple(self.geometry.grid.to_lps(focus.ijk))

    def accepted(self, focus: Focus) -> bool:
        """Whether the focus is part of its side's segment."""
        return is_accepted(focus, self.drawn(_pvsName(focus.side)))

    def toggle(self, focus: Focus) -> None:
        """Accept the focus, or reject it when it is accepted."""
        found = focus_mask(focus)
        self.commit([Change(_pvsName(focus.side), found.mask, found.origin, self.accepted(focus))], found.reason)

    # The whole region

    def act(self, key: str) -> None:
        """One of ACTIONS on the chosen segment, as one undo step; ``message`` says why where it cannot be done."""
        {MIRROR: self._mirror, FILL: self._fill}[key]()

    def reject(self, reason: str) -> None:
        """Take the chosen region away as a whole and record why; undo brings it back."""
        drawn = self._fresh(self.segmentName)
        self.commit([Change(self.segmentName, drawn.mask, drawn.origin, True, reason)], drawn.reason)

    def statistics(self) -> list[str]:
        """Sentences on the chosen segment as drawn now, or why it is missing, and on left against right."""
        lines = statisticsLines(self.volume, self.segmentName, self.drawn)
        why = whyMissing(self.segmentationNode).get(self.segmentName) if self.drawn(self.segmentName).empty else None
        return [why, *lines] if why else lines

    def _mirror(self) -> None:
        target = OTHER_SIDE.get(self.segmentName)
        if target is None:
            self.message = f"{self.segmentName} lies on both sides: there is nothing to mirror."
        elif self.midplane is None:
            self.message = "The patient's mid-sagittal plane is not known: propose the regions first."
        else:
            mirrored = mirror(self._fresh(self.segmentName), self.geometry.grid, self.midplane)
            if mirrored.empty:
                self.message = mirrored.reason
            else:
                self.commit(replacing(target, self._fresh(target), mirrored))

    def _fill(self) -> None:
        filled = interpolate(self._fresh(self.segmentName), self.geometry.grid.spacing)
        self.commit([Change(self.segmentName, filled.mask, filled.origin)], filled.reason)

    # The mouse

    def hover(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The outline of what a click here would change on this slice."""
        place, hand = self._place(lps), self._hand()
        if place is None or hand is None:
            self.message = ""
            return NO_EDGES
        edges = hand.hover(place)
        if self._ended is not None and np.linalg.norm(self._ended[0] - lps) < _REST_MM:
            self.message = self._ended[1]
        else:
            self._ended = None
        return edges

    def press(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The button went down: begin a stroke."""
        place, hand = self._place(lps), self._hand()
        if place is None or hand is None:
            return NO_EDGES
        self._drawn.clear()
        self._pressedOn, self._at, self._ended = place[2], np.array(lps), None
        hand.press(place)
        return hand.outline()

    def drag(self, lps: tuple[float, float, float]) -> np.ndarray:
        """The mouse moved with the button down; returns the outline of the stroke so far."""
        hand = self._hand()
        if hand is None or self._pressedOn is None:
            return NO_EDGES
        place = self._place(lps, self._pressedOn)
        if place is not None:
            self._at = np.array(lps)
            hand.drag(place)
        return hand.outline()

    def release(self) -> None:
        """The button went up: apply the stroke as one action, or say why there is nothing to do."""
        hand, stroke, self._pressedOn = self._hand(), self.stroking, None
        if hand is not None and stroke:
            self._drawn.clear()  # an undo by key, or regions that arrived, may have changed them since the press
            hand.release()
            hand.forget()
            self._ended = (self._at, self.message) if self.message else None

    @property
    def stroking(self) -> bool:
        """Whether the button is down: a stroke keeps its settings."""
        return self._pressedOn is not None

    def leave(self) -> None:
        """The mouse left the view."""
        self.message = ""

    def turn(self, steps: int) -> None:
        """The wheel was turned with a modifier key: change the tool's slider, unless a stroke is under way."""
        if self.stroking:
            return
        if self.tool == PVS:
            self.sensitivity = float(np.clip(self.sensitivity + steps * _TURN, 0.0, 1.0))
        elif self.tool == CSF:
            self.tolerance = float(np.clip(self.tolerance + steps * _TURN, 0.05, 0.95))
        self.forget()

    def forget(self) -> None:
        """Settings or voxels changed: what was previewed, remembered or begun no longer holds."""
        self._drawn.clear()
        self._details = None
        self._pressedOn, self._ended, self.message = None, None, ""
        for hand in self._hands.values():
            hand.forget()

    def color(self) -> tuple[float, float, float]:
        """RGB 0-1 of the outline: the segment's, or the colour of erasing."""
        hand = self._hand()
        return _ERASE_COLOR if hand is not None and hand.erases else SEGMENTS[self.segmentName].color

    def commit(self, changes: Sequence[Change], reason: str = "") -> None:
        """Have the face carry out what really changes, as one action; say ``reason`` (or why) where nothing does."""
        self._drawn.clear()
        real = [change for change in map(self._effective, changes) if change is not None]
        self.message = "" if real else reason or self._idle(changes[0])
        if real:
            self._apply(real)
            self._drawn.clear()

    # Inside

    def _proposal(self) -> RegionSet:
        """What the node knows beside its masks, remembered until something changes."""
        if self._details is None:
            self._details = proposalDetails(self.segmentationNode, self.geometry)
        return self._details

    def _hand(self) -> Hand | None:
        if self.tool not in self._hands and self.tool in _HANDS:
            # Another tool's stroke is over. A hand does not own us: a ring would keep image and patient after us.
            self._hands = {self.tool: _HANDS[self.tool](weakref.proxy(self))}
        return self._hands.get(self.tool)

    def _fresh(self, name: str) -> ToolResult:
        self._drawn.pop(name, None)
        return self.drawn(name)

    def _effective(self, change: Change) -> Change | None:
        """The change without voxels that are so already; None where nothing is left."""
        present = self.drawn(change.name).within(change.origin, change.mask.shape)
        mask = change.mask & (present if change.erase else ~present)
        return Change(change.name, mask, change.origin, change.erase, change.reason) if mask.any() else None

    @staticmethod
    def _idle(change: Change) -> str:
        if change.erase:
            return f"Nothing of {change.name} is here."
        return f"This belongs to {change.name} already."

    def _place(self, lps: tuple[float, float, float], begunOn: int | None = None) -> Place | None:
        """The place in the image, None outside it (or, with ``begunOn``, on another slice than that of the press)."""
        ijk = self.geometry.grid.to_ijk(np.array(lps))
        size = self.geometry.grid.size
        if not all(-0.5 <= p <= n - 0.5 for p, n in zip(ijk, size)):
            return None
        i, j, k = (min(max(float(p), 0.0), n - 1.0) for p, n in zip(ijk, size))
        if begunOn is None:
            return i, j, round(k)
        return (i, j, begunOn) if abs(k - begunOn) < _SAME_SLICE else None


def _sizeText(focus: Focus) -> str:
    return f"{focus.diameter_mm:.1f} mm" + (", large: lacune, infarct or pseudocyst possible" if focus.large else "")


def _pvsName(side: str) -> str:
    return PVS_LEFT if side == "left" else PVS_RIGHT
