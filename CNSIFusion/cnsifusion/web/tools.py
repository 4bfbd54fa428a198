"""The editing tools on the page: which one, in which segment, with what settings; undo and redo."""

from __future__ import annotations

from collections.abc import Callable

from undo_stack import UndoStack

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.session import Session
from cnsifusion.web.viewer import Viewer


class Tools:
    """Connects the page's tool controls, the effect in the axial view and the case's segmentation."""

    def __init__(self, viewer: Viewer, session: Session, undoStack: UndoStack, onChange, say):
        self._viewer, self._session, self._undoStack = viewer, session, undoStack
        self._onChange, self._say = onChange, say
        self._case = None
        viewer.slicer.segmentation_editor.set_undo_stack(undoStack)

    def setCase(self, case): self._case = case
    def onSlice(self, index): pass
    def chooseSegment(self, name): pass
    def chooseTool(self, key): pass
    def setTolerance(self, v): pass
    def setErase(self, v): pass
    def setNeighbours(self, v): pass
    def undo(self): pass
    def redo(self): pass

    def stateForPage(self) -> dict:
        return dict(tool="none", available=[dict(key="none",label="View",tooltip="x")], segmentName="CSF ventricles", canUndo=False, canRedo=False, tolerance=1.0, erase=False, neighbours="0", hint="", sliderLabel="Tolerance", sliderMin=0, sliderMax=3, sliderStep=.1)
