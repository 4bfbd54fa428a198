"""Slicer's own Segment Editor inside the panel, with our effect in front; made when first needed."""

import slicer

from cnsifusion.mrml.drawn import segmentIdOf
from cnsifusion.mrml.segmentation import ensureSegment

EFFECT_NAME = "CNSI"
_EFFECTS = [EFFECT_NAME, "Paint", "Erase", "Draw", "Islands"]
_EDITOR_TAG = "CNSIFusion"
#: Thirty steps, and the state from which they are undone.
_UNDO_STATES = 31
_TABLE_HEIGHT = 150


class Corrector:
    """Opens and closes the tools on the regions of a case."""

    def __init__(self, frame, session):
        self._frame, self._session = frame, session
        self._widget = self._node = None
        frame.hide()

    @property
    def isOpen(self) -> bool:
        """Whether the tools are shown."""
        return self._widget is not None and self._frame.visible

    @property
    def widget(self):
        """The embedded qMRMLSegmentEditorWidget, None before the tools were first opened."""
        return self._widget

    def open(self, case) -> None:
        """Show the tools on the case's regions, our effect active."""
        self.prepare()
        ensureSegment(case.segmentation, case.segmentName)
        self._frame.show()
        self.follow(case)
        self._widget.installKeyboardShortcuts()
        self._widget.setActiveEffectByName(EFFECT_NAME)

    def follow(self, case) -> None:
        """Stay on the case in front."""
        if self._node.GetScene() is None:  # the scene was closed since
            slicer.mrmlScene.AddNode(self._node)
        shown = (self._node.GetSegmentationNode(), self._node.GetSourceVolumeNode())
        if shown[0] is not case.segmentation or shown[1] is not case.volume:
            self._widget.setSegmentationNode(case.segmentation)
            self._widget.setSourceVolumeNode(case.volume)
            # PVS lie inside the sub-lentiform region: one must not erase the other.
            self._node.SetOverwriteMode(self._node.OverwriteNone)
        if not self._node.GetSelectedSegmentID() and (found := segmentIdOf(case.segmentation, case.segmentName)):
            self._node.SetSelectedSegmentID(found)  # undo took the first regions away, and our effect; redo brings both
            if self.isOpen:
                self._widget.setActiveEffectByName(EFFECT_NAME)

    def prepare(self) -> None:
        """Make the tools before they are needed: with the regions that arrive it would hold the mouse up for long."""
        if self._widget is None:
            self._make()

    def asUndoStep(self, change) -> None:
        """Change the case's regions as a whole: the tools' Undo brings back what was drawn before, or nothing."""
        self.prepare()
        self.follow(self._session.case)
        self._widget.saveStateForUndo()
        change()

    def close(self) -> None:
        """Put the tools away; nothing of them stays in the views."""
        if self._widget is not None:
            self._widget.setActiveEffect(None)
            self._widget.uninstallKeyboardShortcuts()
        self._frame.hide()

    def cleanup(self) -> None:
        """Release the editor; may be called twice."""
        if self._widget is None:
            return
        self.close()
        self._widget.setMRMLSegmentEditorNode(None)
        self._widget.setMRMLScene(None)
        self._widget.deleteLater()
        if self._node.GetScene():
            self._node.GetScene().RemoveNode(self._node)
        self._widget = self._node = None

    def _make(self) -> None:
        self._node = slicer.mrmlScene.GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if self._node is None:
            self._node = slicer.vtkMRMLSegmentEditorNode()
            self._node.SetSingletonTag(_EDITOR_TAG)
            self._node = slicer.mrmlScene.AddNode(self._node)
        self._widget = slicer.qMRMLSegmentEditorWidget()
        self._widget.setMaximumNumberOfUndoStates(_UNDO_STATES)
        self._widget.setMRMLScene(slicer.mrmlScene)
        self._widget.segmentationNodeSelectorVisible = False
        self._widget.sourceVolumeNodeSelectorVisible = False
        self._widget.switchToSegmentationsButtonVisible = False
        self._widget.addRemoveSegmentButtonsVisible = False  # the effect's own list makes the protocol's regions
        self._widget.show3DButtonVisible = False
        self._widget.effectColumnCount = 1  # the width is for the views
        slicer.util.findChild(self._widget, "SegmentsTableView").setMaximumHeight(_TABLE_HEIGHT)
        self._widget.setEffectNameOrder(_EFFECTS)
        self._widget.unorderedEffectsVisible = False
        self._widget.setMRMLSegmentEditorNode(self._node)
        self._frame.layout().setContentsMargins(0, 0, 0, 0)
        self._frame.layout().addWidget(self._widget)
