"""The editing tools on the page: which one, in which segment, with what settings; undo and redo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trame_slicer.segmentation.segmentation_state_stack import SegmentationStateStack
from trame_slicer.segmentation.segmentation_undo_command import SegmentationLabelMapUndoCommand
from undo_stack import UndoStack

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.editing import Change, carryOut
from cnsifusion.mrml.limits import NOTHING_LEFT, Limits, leaveNothing, places
from cnsifusion.mrml.readings import agreementLines
from cnsifusion.mrml.segmentation import regionCentre
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.tools import CSF, NONE, PVS, TOOLS, FocusRow, ToolController, mayTakeBothSides, toolsFor
from cnsifusion.mrml.volumes import volumeFromNode
from cnsifusion.roi.names import VENTRICLES
from cnsifusion.roi.region_io import read_regions
from cnsifusion.web.effect import RegionEffect
from cnsifusion.web.viewer import Viewer

_UNDO_STEPS = 30
#: The case's parameter behind each tool's slider.
_SLIDERS = {CSF: "tolerance", PVS: "sensitivity"}


class Tools:
    """Connects the page's tool controls, the effect in the axial view and the case's segmentation."""

    def __init__(self, viewer: Viewer, session: Session, onChange: Callable[[], None]):
        self._viewer, self._session, self._onChange = viewer, session, onChange
        self._editor = viewer.slicer.segmentation_editor
        self._undoStack = UndoStack(undo_limit=_UNDO_STEPS)
        self._editor.set_undo_stack(self._undoStack)
        self._controller: ToolController | None = None
        self._case: CaseState | None = None
        self._said = ""
        self._agreement: list[str] = []
        session.asUndoStep = self._replace
        session.held = lambda: self._controller is not None and self._controller.stroking
        self._limits, self._range = Limits(), (0.0, 1.0)

    def setCase(self, case: CaseState | None) -> None:
        """Work on another case (or on none), or on the same one's new segmentation."""
        if self._isBound(case):
            self._case = case  # regions were just put where there were none, a step that can be undone
            return
        self._release()
        self._editor.clear()
        if case is None or self._case is None or case.node is not self._case.node:
            self._limits = Limits()
        self._case, self._controller, self._agreement = case, None, []
        self._effect.controller = None
        if case is None:
            return
        if case.segmentation is not None:
            self._controller = self._bind(case)
        self._activateIfChosen()

    def stateForPage(self) -> dict:
        """What the page shows of the tools."""
        case = self._case
        tool = TOOLS[case.tool if case else NONE]
        controller = self._controller
        name = case.segmentName if case else VENTRICLES
        self._said = controller.message if controller else ""  # what the reader reads from now on
        return {
            "tool": tool.key,
            "available": [vars(TOOLS[key]) for key in toolsFor(name)],
            "segmentName": name,
            "slider": tool.slider,
            "value": self._sliderValue(),
            "erase": bool(case and case.erase),
            "neighbours": str(case.neighbours if case else 0),
            "canUndo": self._undoStack.can_undo(),
            "canRedo": self._undoStack.can_redo(),
            "foci": [vars(row) for row in self._focusRows()] if tool.key == PVS else [],
            "hint": self._said,
            "leakGuard": bool(not case or case.leakGuard),
            "bothSides": bool(not case or case.bothSides),
            "bothOffered": mayTakeBothSides(tool.key, name, bool(case and case.erase)),
            "statistics": controller.statistics() if controller else [],
            "agreement": self._agreement,
            "limits": {
                **vars(self._limits),
                "brightness": self._limits.brightness or self._range,
                "text": self._limits.text,
                "places": places(case.segmentation if case else None),
            },
            "range": self._range,
        }

    # What the page's controls call

    def chooseTool(self, key: str) -> None:
        """Take a tool in hand, or put it away."""
        if self._case is None or key not in TOOLS:
            return
        self._case.tool = key
        if key == NONE:
            self._editor.deactivate_effect()
        else:
            self._activate()
        self._onChange()

    def chooseSegment(self, name: str) -> None:
        """Work in another of the protocol's segments."""
        if self._case is not None:
            self._case.segmentName = name
            if self._case.tool not in toolsFor(name):
                self.chooseTool(NONE)
            self._settingsChanged()

    def setSlider(self, value: float) -> None:
        """The tool's slider: tolerance or sensitivity."""
        if self._case is not None:
            self.set(_SLIDERS.get(self._case.tool, "tolerance"), float(value))

    def set(self, name: str, value: bool | int | float) -> None:
        """One of the tools' settings, by its name in the case: erase, neighbours, leakGuard, bothSides ..."""
        if self._case is not None:
            setattr(self._case, name, value)
            self._settingsChanged()

    def setLimits(self, **change) -> None:
        """Where drawing may change voxels (see Limits); the whole range of brightness is no limit."""
        if "brightness" in change:
            low, high = (float(value) for value in change["brightness"])
            change["brightness"] = None if low <= self._range[0] and high >= self._range[1] else (low, high)
        self._limits = replace(self._limits, **change)
        self._onChange()

    def act(self, key: str) -> None:
        """Mirror the chosen region, or fill in its missing slices."""
        self._onWhole(lambda controller: controller.act(key))

    def reject(self, reason: str) -> None:
        """Take the chosen region away and record why."""
        self._onWhole(lambda controller: controller.reject(reason))

    def compare(self, path: Path) -> None:
        """Say how far the case's regions and those of another reader's file agree (errors: as read_regions)."""
        own = self._session.regions()
        if self._case is not None:
            other = read_regions(path, volumeFromNode(self._case.volume))
            self._agreement = agreementLines(own, other)
            self._onChange()

    def showFocus(self, index: int) -> None:
        """Bring the views to one focus of the list, and outline it there: many lie close."""
        if self._controller is not None and index < len(self._controller.foci):
            position = self._controller.positionOf(self._controller.foci[index])
            self._viewer.jumpTo(position)
            self._effect.draw(self._controller.hover(position))
            self._afterEvent()

    def toggleFocus(self, index: int) -> None:
        """Accept or reject one focus of the list."""
        if self._controller is not None and index < len(self._controller.foci):
            self._effect.draw(None)  # its colour said what a click would do before
            self._controller.toggle(self._controller.foci[index])

    def undo(self) -> None:
        """Take back the last action."""
        self._undoStack.undo()
        self._othersReturned()

    def redo(self) -> None:
        """Do the last undone action again."""
        self._undoStack.redo()
        self._othersReturned()

    def onPage(self) -> None:
        """A page was loaded (anew): the end of a stroke that the former one began would never come."""
        self._settingsChanged()

    def onMoved(self) -> None:
        """The axial view moved: what the outline showed, or an action without a tool in hand said, is past."""
        if self._case is not None and self._case.tool != NONE:
            self._effect.draw(None)
        elif self._controller is not None and self._controller.message:
            self._controller.leave()
            self._onChange()

    # Inside

    @property
    def _effect(self) -> RegionEffect:
        return self._editor.get_effect(RegionEffect)

    def _isBound(self, case: CaseState | None) -> bool:
        nodes = (self._controller.segmentationNode, self._controller.volumeNode) if self._controller else None
        return case is not None and nodes == (case.segmentation, case.volume)

    def _bind(self, case: CaseState) -> ToolController:
        """Let trame-slicer's editor work on the case's segmentation, with tools of its own."""
        self._release()
        self._editor.set_active_segmentation(case.segmentation, case.volume)
        low, high = case.volume.GetImageData().GetScalarRange()
        self._range = (float(low), float(high))
        return ToolController(case.segmentation, case.volume, self._apply)

    def _release(self) -> None:
        """Cut what ties the editor's former segmentation to itself.

        The node's observer holds the editor's wrapper, which holds the node and the image: a patient who was put away
        would stay until Python looks for such rings.
        """
        former = self._editor.active_segmentation
        if former is not None:
            former.segmentation_node.RemoveObserver(former._node_obs)  # the wrapper has no way to close it

    def _activateIfChosen(self) -> None:
        if self._case.tool != NONE:
            self._activate()

    def _activate(self) -> None:
        if self._case is not None:
            self._effect.controller, self._effect.afterEvent = self._ready(self._case), self._afterEvent
            self._effect.show = self._viewer.showOutline
            undo = {"z": self.undo, "ctrl+z": self.undo, "y": self.redo, "ctrl+y": self.redo}
            self._effect.keys = {**undo, "e": lambda: self.set("erase", not self._case.erase)}
            self._editor.set_active_effect_type(RegionEffect)

    def _ready(self, case: CaseState) -> ToolController:
        """The tools on the case's segmentation (made when there is none), with the case's settings."""
        self._session.segmentation()
        controller = self._controller
        if controller is None or not self._isBound(case):
            controller = self._controller = self._bind(case)
        controller.useSettings(case)
        return controller

    def _onWhole(self, action: Callable[[ToolController], None]) -> None:
        if self._case is not None:
            action(self._ready(self._case))
            self._effect.draw(None)
            self._onChange()

    def _apply(self, changes: Sequence[Change]) -> None:
        """One undoable action of the reader: new segments, their voxels and their provenance come and go together."""
        case, edited, controller = self._case, self._editor.active_segmentation, self._controller
        logic, nodes = edited.editor_logic, (case.segmentation, case.volume, controller.geometry)
        controller.message = self._limits.applyTo(self._editor.editor_node, case.segmentation)
        if not controller.message and leaveNothing(changes, self._editor.editor_node, *nodes):
            controller.message = NOTHING_LEFT
        if controller.message:
            self._onChange()
            return

        def modify(segmentId: str, labelmap, erase: bool, extent: tuple[int, ...]) -> None:
            mode = logic.ModificationModeRemove if erase else logic.ModificationModeAdd
            self._editor.editor_node.SetSelectedSegmentID(segmentId)
            logic.ModifySegmentByLabelmap(case.segmentation, segmentId, labelmap, mode, extent, True, False)

        with self._undoStep():
            last = carryOut(changes, *nodes, modify)
        self._editor.set_active_segment_id(last)

    def _replace(self, change: Callable[[], None]) -> None:
        """One undoable action: the regions as a whole become others."""
        case = self._session.case
        if case is None:
            return
        self._ready(case)
        with self._undoStep():
            change()
        self._settingsChanged()
        if (centre := regionCentre(case.segmentation, case.volume)) is not None:
            self._viewer.jumpTo(centre)

    @contextmanager
    def _undoStep(self) -> Iterator[None]:
        """What is done inside is one undo step."""
        edited = self._editor.active_segmentation
        states = SegmentationStateStack(edited.segmentation, max_size=2)
        states.save_state()
        yield
        states.save_state()
        self._undoStack.push(SegmentationLabelMapUndoCommand(states, edited))
        edited.trigger_modified()
        self._agreement = []
        self._onChange()

    def _afterEvent(self) -> None:
        """The wheel may have moved the slider, and the hover may have something to say."""
        controller, name = self._controller, _SLIDERS.get(self._case.tool)
        if name and getattr(controller, name) != getattr(self._case, name):
            setattr(self._case, name, getattr(controller, name))
            self._onChange()
        if controller.message != self._said:
            self._onChange()

    def _othersReturned(self) -> None:
        """Undo or redo: what was said of the regions does not hold for those that stand now."""
        self._agreement = []
        self._settingsChanged()

    def _settingsChanged(self) -> None:
        if self._controller is not None and self._case is not None:
            self._controller.useSettings(self._case)
            self._effect.draw(None)
        self._onChange()

    def _focusRows(self) -> list[FocusRow]:
        return self._controller.focusRows() if self._controller is not None else []

    def _sliderValue(self) -> float:
        return getattr(self._case, _SLIDERS.get(self._case.tool, "tolerance")) if self._case else 0.5
