"""The editing tools on the page: which one, in which segment, with what settings; undo and redo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from trame_slicer.segmentation.segmentation_undo_command import SegmentationLabelMapUndoCommand
from undo_stack import UndoStack

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.editing import modifier
from cnsifusion.mrml.segmentation import ensureSegment, markEdited, regionCentre
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.tools import CSF, NONE, PVS, TOOLS, FocusRow, ToolController, toolsFor
from cnsifusion.roi.names import VENTRICLES
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
        session.onRegionsReplaced = self._regionsReplaced

    def setCase(self, case: CaseState | None) -> None:
        """Work on another case (or on none), or on the same one's new segmentation."""
        self._editor.deactivate_effect()
        self._undoStack.clear()
        self._case, self._controller = case, None
        if case is None:
            return
        if case.segmentation is not None:
            self._bind()
        self._activateIfChosen()

    def stateForPage(self) -> dict:
        """What the page shows of the tools."""
        case = self._case
        tool = TOOLS[case.tool if case else NONE]
        controller = self._controller
        name = case.segmentName if case else VENTRICLES
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
            "hint": controller.message if controller and tool.key != NONE else "",
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
            setattr(self._case, _SLIDERS.get(self._case.tool, "tolerance"), float(value))
            self._settingsChanged()

    def setErase(self, value: bool) -> None:
        """Take away instead of adding."""
        if self._case is not None:
            self._case.erase = bool(value)
            self._settingsChanged()

    def setNeighbours(self, value: str) -> None:
        """How many slices on each side a click works on too."""
        if self._case is not None and value is not None:
            self._case.neighbours = int(value)
            self._settingsChanged()

    def showFocus(self, index: int) -> None:
        """Bring the views to one focus of the list."""
        if self._controller is not None and index < len(self._controller.foci):
            self._viewer.jumpTo(self._controller.foci[index].lps)

    def toggleFocus(self, index: int) -> None:
        """Accept or reject one focus of the list."""
        if self._controller is not None and index < len(self._controller.foci):
            self._controller.toggle(self._controller.foci[index])

    def undo(self) -> None:
        """Take back the last action."""
        self._undoStack.undo()
        self._settingsChanged()

    def redo(self) -> None:
        """Do the last undone action again."""
        self._undoStack.redo()
        self._settingsChanged()

    def onSlice(self) -> None:
        """The axial view moved: what the outline showed is no longer true."""
        if self._case is not None and self._case.tool != NONE:
            self._effect.clearOutline()

    # Inside

    @property
    def _effect(self) -> RegionEffect:
        return self._editor.get_effect(RegionEffect)

    def _bind(self) -> None:
        """Let trame-slicer's editor work on the case's segmentation."""
        case = self._case
        self._editor.set_active_segmentation(case.segmentation, case.volume)
        self._editor.editor_node.SetOverwriteMode(self._editor.editor_node.OverwriteNone)  # PVS lie in region B
        self._controller = ToolController(case.segmentation, case.volume, self._apply)

    def _activateIfChosen(self) -> None:
        if self._case.tool != NONE:
            self._activate()

    def _activate(self) -> None:
        if self._case is None:
            return
        self._session.segmentation()
        if self._editor.active_segmentation_node is not self._case.segmentation or self._controller is None:
            self._bind()
        self._controller.useSettings(self._case)
        self._effect.controller, self._effect.afterEvent = self._controller, self._afterEvent
        self._editor.set_active_effect_type(RegionEffect)

    def _apply(self, name: str, mask: np.ndarray, origin: tuple[int, int, int], erase: bool) -> None:
        """One undoable action of the reader: a new segment, its voxels and its provenance come and go together."""
        case, edited = self._case, self._editor.active_segmentation
        labelmap, extent = modifier(mask, origin, case.volume, self._controller.geometry)
        logic = edited.editor_logic
        mode = logic.ModificationModeRemove if erase else logic.ModificationModeAdd
        with SegmentationLabelMapUndoCommand.push_state_change(edited):
            segmentId = ensureSegment(case.segmentation, name)
            logic.ModifySegmentByLabelmap(case.segmentation, segmentId, labelmap, mode, extent, True, False)
            markEdited(case.segmentation, segmentId)
        self._editor.set_active_segment_id(segmentId)
        edited.trigger_modified()
        self._onChange()

    def _regionsReplaced(self) -> None:
        self._undoStack.clear()
        if self._controller is not None:
            self._bind()
            self._activateIfChosen()
        case = self._session.case
        if (centre := regionCentre(case.segmentation, case.volume)) is not None:
            self._viewer.jumpTo(centre)
        self._onChange()

    def _afterEvent(self) -> None:
        """The wheel may have moved the slider, and the hover may have something to say."""
        controller, name = self._controller, _SLIDERS.get(self._case.tool)
        if name and getattr(controller, name) != getattr(self._case, name):
            setattr(self._case, name, getattr(controller, name))
            self._onChange()
        if controller.message != self._said:
            self._said = controller.message
            self._onChange()

    def _settingsChanged(self) -> None:
        if self._controller is not None and self._case is not None:
            self._controller.useSettings(self._case)
            self._effect.clearOutline()
        self._onChange()

    def _focusRows(self) -> list[FocusRow]:
        return self._controller.focusRows() if self._controller is not None else []

    def _sliderValue(self) -> float:
        return getattr(self._case, _SLIDERS.get(self._case.tool, "tolerance")) if self._case else 0.5
