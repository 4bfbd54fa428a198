"""What each tool does with the mouse: what hovering shows, how a stroke grows, what letting go changes.

A hand is made for one :class:`cnsifusion.mrml.tools.ToolController` and reads its settings. Places are continuous voxel
indices (i, j) on slice k of the canonical grid; outlines are edges (n, 2, 3) in LPS mm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from cnsifusion.mrml.contour import NO_EDGES, marks, outline, polyline
from cnsifusion.mrml.editing import Change
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT
from cnsifusion.roi.tools.csf import CsfSettings, grow, lobe
from cnsifusion.roi.tools.pvs import PvsSettings, detect, focus_at, focus_mask
from cnsifusion.roi.tools.result import ToolResult, nothing, united
from cnsifusion.roi.tools.shape import (
    SPLINE_STEPS,
    Motion,
    centre_of,
    control_points,
    polygon,
    spline_points,
    transform,
)

if TYPE_CHECKING:
    from cnsifusion.mrml.tools import ToolController

Place = tuple[float, float, int]
#: A point of the spline is taken hold of within this, and the line itself is pulled from within the second.
_GRIP_MM, _PULL_MM = 1.5, 12.0
#: Turning and scaling by a hand that did not mean to stay at none below these.
_STILL_DEGREES, _STILL_SCALE = 2.0, 0.03
#: The shortest distance to the centre (mm) from which a direction can be told.
_LEVER_MM = 2.0


def pixel(place: Place) -> tuple[int, int, int]:
    """The voxel (k, j, i) at a place."""
    return place[2], round(place[1]), round(place[0])


def replacing(name: str, old: ToolResult, new: ToolResult) -> list[Change]:
    """The changes that make the segment's drawn window ``old`` into ``new``."""
    gone = old.mask & ~new.within(old.origin, old.mask.shape)
    return [Change(name, gone, old.origin, erase=True), Change(name, new.mask, new.origin)]


class Hand(ABC):
    """One tool held over the axial view. ``preview`` is what a click here would change."""

    _c: ToolController
    preview: ToolResult

    @property
    def erases(self) -> bool:
        """Whether a click here takes voxels away."""
        return self._c.erase

    @abstractmethod
    def hover(self, place: Place) -> np.ndarray:
        """The outline of what a click would change on this slice; says in the controller why there is none."""

    @abstractmethod
    def press(self, place: Place) -> None:
        """The button went down."""

    @abstractmethod
    def drag(self, place: Place) -> None:
        """The mouse moved on with the button down, on the slice of the press."""

    @abstractmethod
    def outline(self) -> np.ndarray:
        """What is shown while the button is down."""

    @abstractmethod
    def release(self) -> None:
        """The button went up: commit the stroke."""

    @abstractmethod
    def forget(self) -> None:
        """Settings or voxels changed: what hovering found no longer holds, and a stroke under way is dropped."""


class _MaskHand(Hand):
    """Tools whose click means a mask at one voxel: hovering shows it on the slice, each voxel asked once."""

    def __init__(self, controller: ToolController):
        self._c = controller
        self.forget()

    def forget(self) -> None:
        self.preview = nothing("")
        self._hovered: tuple[int, int, int] | None = None
        self._stroke: list[Place] = []
        self._drawn = nothing("")

    def hover(self, place: Place) -> np.ndarray:
        here = pixel(place)
        if here != self._hovered:
            self._hovered, self.preview = here, self.at(here, neighbours=0)
        self._c.message = self.preview.reason
        return outline(self.preview.mask, self.preview.origin, here[0], self._c.geometry.grid)

    def press(self, place: Place) -> None:
        self._stroke, self._drawn = [place], self.at(pixel(place), self._c.neighbours)

    def drag(self, place: Place) -> None:
        pass

    def outline(self) -> np.ndarray:
        if not self._stroke:
            return NO_EDGES
        return outline(self._drawn.mask, self._drawn.origin, self._stroke[0][2], self._c.geometry.grid)

    @abstractmethod
    def at(self, point: tuple[int, int, int], neighbours: int) -> ToolResult:
        """What a click at a voxel (k, j, i) means, with this many slices on each side."""


class GrowHand(_MaskHand):
    """CSF: grows over it, or erases the piece of the region between its necks."""

    def at(self, point: tuple[int, int, int], neighbours: int) -> ToolResult:
        settings = CsfSettings(self._c.tolerance, self._c.leakGuard, neighbours=neighbours)
        spacing, drawn = self._c.geometry.grid.spacing, self._c.drawn(self._c.segmentName)
        if self._c.erase:
            return lobe(drawn, spacing, point, settings)
        return grow(self._c.volume.array, spacing, point, settings, self._c.midlineOf(point[0]), drawn)

    def drag(self, place: Place) -> None:
        here = pixel(place)
        if here != pixel(self._stroke[-1]):
            self._stroke.append(place)
            if not self._drawn.within(here, (1, 1, 1)).any():
                self._drawn = united(self._drawn, self.at(here, self._c.neighbours))

    def release(self) -> None:
        self._c.commit([Change(self._c.segmentName, self._drawn.mask, self._drawn.origin, self._c.erase)],
                       self._drawn.reason)  # fmt: skip


class FocusHand(_MaskHand):
    """PVS: the candidate under the cursor, accepted or rejected; a bright dot of its own where there is none."""

    @property
    def erases(self) -> bool:
        focus = self._focusAt(self._hovered) if self._hovered else None
        return self._c.erase if focus is None else self._c.accepted(focus)

    def at(self, point: tuple[int, int, int], neighbours: int) -> ToolResult:
        focus = self._focusAt(point)
        if focus is not None:
            return focus_mask(focus)
        settings = PvsSettings(sensitivity=self._c.sensitivity)
        return detect(self._c.volume.array, self._c.geometry.grid.spacing, point, settings)

    def release(self) -> None:
        point = pixel(self._stroke[0])
        focus = self._focusAt(point)
        if focus is not None:
            self._c.toggle(focus)
            return
        change = Change(self._segmentAt(point), self._drawn.mask, self._drawn.origin, self._c.erase)
        self._c.commit([change], self._drawn.reason)

    def _focusAt(self, point: tuple[int, int, int]):
        return focus_at(self._c.foci, point, self._c.geometry.grid.spacing)

    def _segmentAt(self, point: tuple[int, int, int]) -> str:
        midplane = self._c.midplane
        if midplane is None:
            return self._c.segmentName if self._c.segmentName in (PVS_LEFT, PVS_RIGHT) else PVS_LEFT
        onLeft = float(midplane.distance(self._c.geometry.grid.to_lps(point[::-1]))) > 0
        return PVS_LEFT if onLeft else PVS_RIGHT


class OutlineHand(Hand):
    """A closed line drawn with the button down: its inside is added or erased."""

    def __init__(self, controller: ToolController):
        self._c = controller
        self.preview = nothing("")
        self._stroke: list[Place] = []

    def forget(self) -> None:
        self._stroke = []

    def hover(self, place: Place) -> np.ndarray:
        self._c.message = ""
        return NO_EDGES

    def press(self, place: Place) -> None:
        self._stroke = [place]

    def drag(self, place: Place) -> None:
        self._stroke.append(place)

    def outline(self) -> np.ndarray:
        if not self._stroke:
            return NO_EDGES
        return polyline(np.array([place[:2] for place in self._stroke]), self._stroke[0][2], self._c.geometry.grid)

    def release(self) -> None:
        points = np.array([place[:2] for place in self._stroke])
        found = polygon(points, self._stroke[0][2], self._c.geometry.grid.shape)
        self._c.commit([Change(self._c.segmentName, found.mask, found.origin, self._c.erase)], found.reason)


class MoveHand(Hand):
    """The whole region: dragged from inside it moves, from outside it turns and changes its size."""

    erases = False

    def __init__(self, controller: ToolController):
        self._c = controller
        self.forget()

    def forget(self) -> None:
        self.preview = nothing("")
        self._from: Place | None = None
        self._motion = Motion()

    def hover(self, place: Place) -> np.ndarray:
        self.preview = self._c.drawn(self._c.segmentName)
        self._c.message = self.preview.reason
        return outline(self.preview.mask, self.preview.origin, place[2], self._c.geometry.grid)

    def press(self, place: Place) -> None:
        self.preview, self._from, self._motion = self._c.drawn(self._c.segmentName), place, Motion()
        self._inside = bool(self.preview.within(pixel(place), (1, 1, 1)).any())

    def drag(self, place: Place) -> None:
        if self.preview.empty or self._from is None:
            return
        spacing = np.array(self._c.geometry.grid.spacing[:2])
        if self._inside:
            shift = (np.array(place[:2]) - self._from[:2]) * spacing
            self._motion = Motion((float(shift[0]), float(shift[1])))
            return
        centre = np.array(centre_of(self.preview))
        was, now = (np.array(self._from[:2]) - centre) * spacing, (np.array(place[:2]) - centre) * spacing
        if min(np.hypot(*was), np.hypot(*now)) < _LEVER_MM:
            return
        degrees = float(np.degrees(np.arctan2(was[0] * now[1] - was[1] * now[0], was @ now)))
        scale = float(np.hypot(*now) / np.hypot(*was))
        self._motion = Motion(
            scale=1.0 if abs(scale - 1) < _STILL_SCALE else scale,
            degrees=0.0 if abs(degrees) < _STILL_DEGREES else degrees,
        )

    def outline(self) -> np.ndarray:
        if self.preview.empty or self._from is None:
            return NO_EDGES
        moved = self._moved([self._from[2]])
        return outline(moved.mask, moved.origin, self._from[2], self._c.geometry.grid)

    def release(self) -> None:
        self.preview = self._c.drawn(self._c.segmentName)
        moved, old, still = self._moved(None), self.preview, self._motion == Motion()
        self.forget()
        if old.empty or moved.empty:
            self._c.message = moved.reason
        elif not still:
            self._c.commit(replacing(self._c.segmentName, old, moved))

    def _moved(self, slices: list[int] | None) -> ToolResult:
        grid = self._c.geometry.grid
        return transform(self.preview, grid.spacing, grid.shape, self._motion, slices)


class SplineHand(Hand):
    """A closed smooth line through points that can be dragged, begun from what is drawn on the slice.

    Only what the moved point changes is added or erased: pixels and holes away from it stay as they were. The points
    stay while the slice is what they made of it; after an undo or another tool's change they are laid anew.
    """

    def __init__(self, controller: ToolController):
        self._c = controller
        self.preview = nothing("")
        self._points = self._before = np.zeros((0, 2))
        self._slice: tuple = ()
        self._grabbed: int | None = None
        self._held = np.zeros(2)  # where the point in the hand was, and where the hand was then
        self._from: tuple[float, float] = (0.0, 0.0)

    def forget(self) -> None:
        self._grabbed = None

    def hover(self, place: Place) -> np.ndarray:
        self._look(place[2])
        self._c.message = self._wanting()
        return self.outline()

    def press(self, place: Place) -> None:
        self._look(place[2])
        self._c.message = ""
        self._before, self._grabbed, self._from = self._points, None, place[:2]
        at, mm = np.array(place[:2]), np.array(self._c.geometry.grid.spacing[:2])
        away = np.hypot(*((self._points - at) * mm).T) if len(self._points) else np.array([np.inf])
        if away.min() <= max(_GRIP_MM, 2 * mm.max()):
            self._takeHold(int(away.argmin()))
        elif self._c.erase:
            self._c.message = self._wanting() or "Click a point of the line to take it away."
        elif len(self._points) < 3:
            self._insert(len(self._points), at)
        else:
            curve = np.hypot(*((spline_points(self._points) - at) * mm).T)
            if curve.min() > _PULL_MM:
                self._c.message = "Drag a point of the line, or press near the line to pull it there."
            else:
                self._insert(int(curve.argmin()) // SPLINE_STEPS + 1, at)

    def drag(self, place: Place) -> None:
        if self._grabbed is not None:
            self._points = self._points.copy()
            self._points[self._grabbed] = self._held + np.subtract(place[:2], self._from)

    def outline(self) -> np.ndarray:
        if not len(self._points):
            return NO_EDGES
        k, grid = self._slice[1], self._c.geometry.grid
        line = spline_points(self._points) if len(self._points) > 2 else self._points
        return np.concatenate([polyline(line, k, grid), marks(self._points, k, grid)])

    def release(self) -> None:
        k, moved = self._slice[1], not np.array_equal(self._before, self._points)
        self._grabbed = None
        if moved and len(self._points) >= 3:
            old, new = (self._inside(points, k) for points in (self._before, self._points))
            gone = old.mask & ~new.within(old.origin, old.mask.shape)
            added = new.mask & ~old.within(new.origin, new.mask.shape)
            name, points = self._c.segmentName, self._points
            self._c.commit([Change(name, gone, old.origin, erase=True), Change(name, added, new.origin)], new.reason)
            self._look(k)
            self._points = points
        elif moved:
            self._c.message = self._wanting()

    def _look(self, k: int) -> None:
        """Lay the points anew where the slice is not what it was."""
        shape, drawn = self._c.geometry.grid.shape, self._c.drawn(self._c.segmentName)
        plane = drawn.within((k, 0, 0), (1, *shape[1:]))[0]
        now = (self._c.segmentName, k, plane.tobytes())
        if now != self._slice:
            self._slice, self._points = now, control_points(plane)

    def _inside(self, points: np.ndarray, k: int) -> ToolResult:
        return polygon(points, k, self._c.geometry.grid.shape, spline=True)

    def _wanting(self) -> str:
        drawn = len(self._points)
        if drawn >= 3:
            return ""
        if self._c.erase:
            return "Nothing is drawn on this slice: there is no point to take away."
        wanted = ("three points", "two more points", "one more point")[drawn]
        return f"Nothing is drawn on this slice: click {wanted} around the region."

    def _takeHold(self, number: int) -> None:
        if not self._c.erase:
            self._grabbed, self._held = number, self._points[number]
        elif len(self._points) <= 3:
            self._c.message = "A line needs three points."
        else:
            self._points = np.delete(self._points, number, axis=0)

    def _insert(self, place: int, at: np.ndarray) -> None:
        self._points = np.insert(self._points, place, at, axis=0)
        self._grabbed, self._held = place, at
