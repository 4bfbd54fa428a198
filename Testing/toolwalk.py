"""Random readers: any tool, any action, undo and redo in any order, on both undo machineries, against a model.

:class:`Reader` is a hypothesis state machine; :func:`walks` runs many of them with a fixed seed. After each action the
segmentation is what a list of earlier states says it must be; in the end everything is undone and must be, to the bit,
what the reader began with. Used by the tests in small amounts and by the soak in thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from regioneditor import RegionEditor
from scipy import ndimage

from cnsifusion.imaging import Grid, Volume
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.drawn import segmentMask
from cnsifusion.mrml.limits import ANYWHERE, KEEP, NOTHING_LEFT, OVERWRITE, Limits, leaveNothing, places
from cnsifusion.mrml.segmentation import (
    EDITED_TAG,
    REJECTED_TAG,
    addSegmentationNode,
    keepPartsHidden,
    proposalDetails,
    showRegions,
    tagValue,
)
from cnsifusion.mrml.tools import ACTIONS, CSF, NONE, REJECT_REASONS, TOOLS, ToolController, toolsFor
from cnsifusion.mrml.volumes import NodeGeometry, addVolumeNode
from cnsifusion.roi.names import PVS_LEFT, SEGMENTS, SUBLENTIFORM_LEFT, VENTRICLES
from cnsifusion.roi.regions import Focus, Plane, RegionSet

GRID = Grid((48, 44, 6), (1.6, 1.7, 4.0), (10.0, -20.0, 3.0), (0.98, 0, 0.199, 0, 1, 0, -0.199, 0, 0.98))
_STEPS_PER_READER = 40
_NO_LIMIT = 10_000


def head() -> tuple[Volume, RegionSet]:
    """A small head with ventricles, dots and noise, and a proposal with a mid-plane and foci."""
    random = np.random.default_rng(5)
    k, j, i = np.indices(GRID.shape)
    ventricles = (np.hypot((np.abs(i - 23.5) - 5) / 3, (j - 20) / 8) < 1) & (k > 0)
    array = 150.0 * (np.hypot((i - 23.5) / 22, (j - 22) / 20) < 1) + 250.0 * ventricles
    foci = []
    for side, column in (("left", 34), ("right", 13)):
        where = np.array([(2, 28, column), (2, 28, column + 1), (3, 28, column)])
        array[tuple(where.T)] = 380.0
        position = GRID.to_lps((column, 28, 2))
        foci.append(Focus(side, (column, 28, 2), tuple(position), 2.0, 5.0, 0.9, False, where))
    array = ndimage.gaussian_filter(array, (0, 0.5, 0.5)) + random.normal(0, 4, GRID.shape)
    masks = {VENTRICLES: ventricles, PVS_LEFT: np.zeros(GRID.shape, bool)}
    masks[SUBLENTIFORM_LEFT] = (np.hypot((i - 34) / 5, (j - 28) / 4) < 1) & np.isin(k, (2, 4))
    middle = tuple(float(x) for x in GRID.to_lps((23.5, 20, 3)))
    regions = RegionSet(GRID, masks, midplane=Plane(middle, (1.0, 0.02, 0.01)), foci=foci)
    regions.parts = ventricles.astype(np.uint8)
    return Volume(array.astype(np.float32), GRID), regions


_CHOICES = st.fixed_dictionaries({
    "name": st.sampled_from(sorted(SEGMENTS)), "number": st.integers(0, 9), "erase": st.booleans(),
    "neighbours": st.sampled_from([0, 1, 2, 999]), "guard": st.booleans(), "both": st.booleans(),
})  # fmt: skip
#: Places of a stroke in and around the image, in tenths of a voxel.
_POINTS = st.lists(st.tuples(st.integers(-30, 500), st.integers(-30, 460), st.integers(-1, 6)), min_size=1, max_size=6)
#: Where a stroke begins: anywhere, near the middle of the head, or on (the rim of) what is drawn.
_AIMS = st.sampled_from(["anywhere", "near", "drawn", "rim"])


class SlicersOwn:
    """The desktop's machinery: Slicer's segmentation history."""

    def __init__(self):
        from harness import HeadlessSlicer

        self._slicer = HeadlessSlicer()
        self.scene = self._slicer.scene

    def open(self, case: CaseState, undoSteps: int = _NO_LIMIT) -> None:
        """Begin with a case: no undo step yet; up to so many are kept."""
        self._editor = RegionEditor(self.scene, case.segmentation, case.volume)
        self._editor.logic.SetMaximumNumberOfUndoStates(undoSteps)
        self.controller = ToolController(case.segmentation, case.volume, self.apply)
        self.applied, self._limits = 0, Limits()

    def limit(self, limits: Limits) -> None:
        """Draw only there from now on."""
        self._limits = limits

    def apply(self, changes) -> None:
        """Carry the changes out as far as the limits let them, and count."""
        controller, node = self.controller, self._editor.node
        nodes = (controller.segmentationNode, controller.volumeNode, controller.geometry)
        controller.message = self._limits.applyTo(node, nodes[0])
        if not controller.message and leaveNothing(changes, node, *nodes):
            controller.message = NOTHING_LEFT
        if not controller.message:
            self.applied += 1
            self._editor.applyAll(changes)

    def replace(self, change) -> None:
        """Change the regions as a whole, as the panel does with the editor that is embedded in it."""
        self.applied += 1
        self._editor.logic.SaveStateForUndo()
        change()
        self.controller.forget()

    def undo(self) -> None:
        """Take back one step."""
        self._editor.undo()
        self.controller.forget()

    def redo(self) -> None:
        """Do it again."""
        self._editor.redo()
        self.controller.forget()

    def close(self) -> None:
        """Let go of the case."""
        self._editor.close()


class Browsers:
    """The browser's machinery: its Tools on trame-slicer's undo stack, without a page."""

    def __init__(self):
        from trame_slicer.core import SlicerApp

        self._slicer = SlicerApp()
        self.scene = self._slicer.scene

    def open(self, case: CaseState, undoSteps: int = _NO_LIMIT) -> None:
        """See :class:`SlicersOwn`."""
        from cnsifusion.web.tools import Tools

        viewer = SimpleNamespace(slicer=self._slicer, jumpTo=lambda position: None)
        self._session = SimpleNamespace(case=case, segmentation=lambda: case.segmentation)
        self._tools = Tools(viewer, self._session, lambda: None)
        self._tools.setCase(case)
        self._tools._undoStack.set_undo_limit(undoSteps)
        self.controller = self._tools._controller
        self._carryOut, self.controller._apply = self.controller._apply, self.apply
        self.applied = 0

    def limit(self, limits: Limits) -> None:
        """See :class:`SlicersOwn`."""
        brightness = limits.brightness or self._tools.stateForPage()["range"]
        self._tools.setLimits(where=limits.where, overwrite=limits.overwrite, brightness=brightness)

    def apply(self, changes) -> None:
        """See :class:`SlicersOwn`."""
        self._carryOut(changes)
        self.applied += not self.controller.message

    def replace(self, change) -> None:
        """See :class:`SlicersOwn`."""
        self.applied += 1
        self._keepingSettings(lambda: self._session.asUndoStep(change))

    def undo(self) -> None:
        """See :class:`SlicersOwn`."""
        self._keepingSettings(self._tools.undo)

    def redo(self) -> None:
        """See :class:`SlicersOwn`."""
        self._keepingSettings(self._tools.redo)

    def close(self) -> None:
        """See :class:`SlicersOwn`."""
        self._tools.setCase(None)

    def _keepingSettings(self, action) -> None:
        """The tools take the case's settings, which this reader does not use."""
        values = [(name, getattr(self.controller, name)) for name in _SETTINGS]
        action()
        for name, value in values:
            setattr(self.controller, name, value)


MACHINERIES = {"Slicer's own": SlicersOwn, "the browser's": Browsers}
_SETTINGS = ("tool", "segmentName", "erase", "leakGuard", "bothSides", "neighbours", "tolerance", "sensitivity")


def snapshot(case: CaseState) -> dict:
    """Every segment's name, provenance and voxels, whether it is seen, and what is known beside them."""
    node = case.segmentation
    details = proposalDetails(node, NodeGeometry(case.volume))
    found = {"details": (details.midplane, [f.ijk for f in details.foci], details.withheld, details.notes)}
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        segment = node.GetSegmentation().GetSegment(segmentId)
        tags = tuple(tagValue(segment, tag) for tag in (EDITED_TAG, REJECTED_TAG, "DICOM.SegmentAlgorithmType"))
        seen = node.GetDisplayNode().GetSegmentVisibility(segmentId)
        found[segment.GetName(), tags, seen] = segmentMask(node, segmentId, case.volume).tobytes()
    return found


@dataclass
class Tally:
    """What was done over all readers of a machinery."""

    actions: int = 0
    changes: int = 0
    undone: int = 0


class Reader(RuleBasedStateMachine):
    """One reader on a fresh head. ``face`` and ``tally`` are set by :func:`walks`."""

    face: SlicersOwn | Browsers
    tally: Tally

    @initialize(bare=st.booleans())
    def open(self, bare):
        """Begin with a proposal, or (``bare``) with nothing drawn."""
        volume, regions = head()
        scene = self.face.scene
        node = addVolumeNode(scene, volume, "T2")
        self.case = CaseState.forVolume(scene, node)
        self.case.segmentation = addSegmentationNode(scene, node)
        keepPartsHidden(self.case.segmentation)
        if not bare:
            showRegions(regions, self.case.segmentation, node)
        self.face.open(self.case)
        self.states, self.at, self.limited = [snapshot(self.case)], 0, False
        self.face.controller.tool = CSF

    def teardown(self):
        if not hasattr(self, "case"):
            return
        for _ in range(self.at + 1):  # one more than there are: nothing lies before the first state
            self.face.undo()
        try:
            assert snapshot(self.case) == self.states[0], "undoing everything does not give back the beginning"
            assert self.face.controller.statistics() is not None
        finally:
            self.face.close()
            for node in (self.case.segmentation, self.case.volume, self.case.node):
                self.face.scene.RemoveNode(node)

    def did(self, action, idle: bool = False) -> None:
        """Do it: at most one undo step, exactly one where something changed (or also where not, with ``idle``)."""
        before = self.face.applied
        action()
        steps, now = self.face.applied - before, snapshot(self.case)
        self.tally.actions += 1
        assert steps in (0, 1), f"{steps} undo steps for one action"
        if steps:
            assert idle or now != self.states[self.at], "an undo step without a change"
            self.states, self.at = [*self.states[: self.at + 1], now], self.at + 1
            self.tally.changes += 1
        assert now == self.states[self.at], "something changed without an undo step"

    @rule(choice=_CHOICES)
    def choose(self, choice):
        name, number, controller = choice["name"], choice["number"], self.face.controller
        controller.segmentName, controller.neighbours = name, choice["neighbours"]
        controller.erase, controller.leakGuard = choice["erase"], choice["guard"]
        controller.bothSides = choice["both"]
        usable = [key for key in toolsFor(name) if key != NONE]
        controller.tool = usable[number % len(usable)]
        assert controller.tool in TOOLS and len(controller.color()) == 3
        controller.forget()

    @rule(choice=_CHOICES, points=_POINTS, aim=_AIMS, number=st.integers(0, 999))
    def strokeWithAnotherTool(self, choice, points, aim, number):
        self.choose(choice)
        self.stroke(points, aim, number)

    @rule(where=st.integers(0, 9), overwrite=st.sampled_from(list(OVERWRITE)), dark=st.booleans(), none=st.booleans())
    def limit(self, where, overwrite, dark, none):
        """Masking, overwrite mode and intensity range, or none of them (``none``)."""
        allowed = places(self.case.segmentation)
        brightness = (130.0, 230.0) if dark else None
        limits = Limits() if none else Limits(allowed[where % len(allowed)], overwrite, brightness)
        self.limited = limits.where != ANYWHERE or limits.overwrite != KEEP or limits.brightness is not None
        self.did(lambda: self.face.limit(limits))

    @rule(steps=st.integers(-3, 3))
    def turn(self, steps):
        self.did(lambda: self.face.controller.turn(steps))

    @rule(points=_POINTS, aim=_AIMS, number=st.integers(0, 999))
    def stroke(self, points, aim, number):
        """Hover, press, drag and let go."""
        points = [(i / 10, j / 10, k) for i, j, k in points]
        drawn = self.face.controller.drawn(self.face.controller.segmentName)
        if aim == "near":
            points = [(24 + (i - 24) * 0.5, 23 + (j - 23) * 0.5, min(max(points[0][2], 1), 4)) for i, j, _ in points]
        elif aim in ("drawn", "rim") and not drawn.empty:
            inner = ndimage.binary_erosion(drawn.mask, np.ones((1, 3, 3))) if aim == "rim" else drawn.mask & False
            voxels = np.argwhere(drawn.mask & ~inner) + drawn.origin
            k, j, i = (int(v) for v in voxels[number % len(voxels)])
            points = [(i, j, k), *((i + (x - 24) / 6, j + (y - 23) / 6, k) for x, y, _ in points[1:])]
        places = [tuple(float(x) for x in GRID.to_lps(point)) for point in points]
        controller = self.face.controller
        self.did(lambda: controller.hover(places[0]))

        def draw():
            edges = [controller.press(places[0]), *(controller.drag(place) for place in places[1:])]
            assert all(each.ndim == 3 and each.shape[1:] == (2, 3) and np.isfinite(each).all() for each in edges)
            controller.release()

        self.did(draw)

    @rule(what=st.sampled_from([*ACTIONS, "reject", "toggle"]), number=st.integers(0, 9))
    def onTheWhole(self, what, number):
        """Mirror, fill in, reject the region, or accept or reject a focus of the list."""
        controller, before = self.face.controller, self.face.applied
        if what == "toggle" and controller.foci:
            focus = controller.foci[number % len(controller.foci)]
            accepted = controller.accepted(focus)
            self.did(lambda: controller.toggle(focus))
            assert self.limited or controller.accepted(focus) != accepted
        elif what == "reject":
            self.did(lambda: controller.reject(REJECT_REASONS[number % len(REJECT_REASONS)]))
            assert self.limited or controller.drawn(controller.segmentName).empty
        elif what in ACTIONS:
            self.did(lambda: controller.act(what))
            assert self.face.applied > before or controller.message, "nothing happened, and nothing was said"

    @rule(shift=st.integers(1, 5), bare=st.booleans())
    def proposeAgain(self, shift, bare):
        """Other regions come instead of all that are drawn (``bare``: a file of the left one only)."""
        _, regions = head()
        names = [SUBLENTIFORM_LEFT] if bare else list(regions.masks)
        masks = {name: np.roll(regions.masks[name], shift, axis=1) for name in names}
        other = replace(regions, masks=masks, foci=regions.foci[:1])
        if bare:
            other = RegionSet(GRID, masks, notes=["one region"])
        case, known = self.case, snapshot(self.case)["details"][:2]
        self.did(lambda: self.face.replace(lambda: showRegions(other, case.segmentation, case.volume)), idle=True)
        if bare:
            assert snapshot(case)["details"][:2] == known, "mid-plane and foci are known as before"

    @rule()
    def undo(self):
        self.face.undo()
        self.at = max(self.at - 1, 0)
        self._stands("undo")

    @rule()
    def redo(self):
        self.face.redo()
        self.at = min(self.at + 1, len(self.states) - 1)
        self._stands("redo")

    def _stands(self, what: str) -> None:
        self.tally.actions += 1
        self.tally.undone += 1
        assert snapshot(self.case) == self.states[self.at], f"{what} brings back something else"


def walks(machinery: str, readers: int, start: int = 0) -> Tally:
    """Let this many readers work on a machinery (a key of MACHINERIES); raises what the first failing one met."""
    tally, machine = Tally(), MACHINERIES[machinery]()
    kind = type("RandomReader", (Reader,), {"face": machine, "tally": tally})
    run_state_machine_as_test(
        seed(start)(kind),
        settings=settings(
            max_examples=readers, stateful_step_count=_STEPS_PER_READER, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], report_multiple_bugs=False,
        ),
    )  # fmt: skip
    return tally
