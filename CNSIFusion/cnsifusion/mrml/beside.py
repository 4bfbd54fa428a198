"""Another series of the same patient in a view of its own beside the image, scrolling and zooming with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from slicer import vtkMRMLSubjectHierarchyNode
from vtkmodules.vtkCommonCore import vtkCommand

from cnsifusion.errors import BadInput
from cnsifusion.mrml.case import CaseState, nodesByClass, removeNode
from cnsifusion.mrml.volumes import loadVolume

if TYPE_CHECKING:
    from cnsifusion.mrml.session import Session


_NOT_ALIGNED = "The other series is not aligned: places and regions fit only within one examination."
_OTHER_FRAME = (
    "The other series has another frame of reference (another examination, or the patient was laid anew): places and "
    "regions may not fit."
)


class Beside:
    """Which series stands beside the image in front: the reader's choice, else one known to be the patient's."""

    def __init__(self, session: Session):
        self._session = session

    def shown(self):
        """The volume node to show beside the image, None for none."""
        case = self._session.front
        if case is None or case.besideHidden:
            return None
        if case.beside is not None:
            return case.beside
        mine = self._patient(case.volume)
        others = (node for node in self._volumes(case) if mine is not None and self._patient(node) == mine)
        return next((node for node in others if _overlap(case.volume, node)), None)

    def note(self) -> str:
        """What to know of the series beside the image; "" for none, and where DICOM says that both lie in one place."""
        other, image = self.shown(), self._session.front
        if other is None:
            return ""
        frames = [self._session.sources.frame(node) for node in (image.volume, other)]
        if not all(frames):
            return _NOT_ALIGNED
        return "" if frames[0] == frames[1] else _OTHER_FRAME

    def open(self, path: str | Path):
        """Load another series of this patient and show it; returns its node. Raises BadInput where it cannot be one."""
        node = loadVolume(self._session.scene, Path(path))
        self._session.sources.remember(node, Path(path))
        try:
            self.choose(node)
        except BadInput:
            self._session.sources.forget(node)
            removeNode(self._session.scene, node)
            raise
        return node

    def choose(self, volumeNode) -> None:
        """Show this volume beside the image; None shows nothing.

        Raises BadInput for a volume that is known to be another patient's, or that lies elsewhere in space.
        """
        case = self._session.required()
        if volumeNode is not None:
            mine, other = self._patient(case.volume), self._patient(volumeNode)
            if mine and other and mine[0] == other[0] and mine != other:
                raise BadInput("That series belongs to another patient; it is not shown beside this one.")
            if not _overlap(case.volume, volumeNode):
                raise BadInput("That series lies elsewhere in space than the image: it cannot be scrolled together.")
        case.beside, case.besideHidden = volumeNode, volumeNode is None
        self._session.onChange()

    def isOfThisPatient(self, volumeNode) -> bool:
        """Whether a volume is the image in front, its maps, the one beside it, or known to be the same patient's."""
        case = self._session.front
        if case is None:
            return False
        if volumeNode in (case.volume, case.beside, case.logMap, case.heatMap):
            return True
        mine = self._patient(case.volume)
        return mine is not None and self._patient(volumeNode) == mine

    def whose(self, images: list) -> CaseState | None:
        """The case whose regions and maps may lie over all these images; None where they are no one case's.

        The one in front before another of which they show the image itself.
        """
        front = self._session.front
        if front is not None and all(self.isOfThisPatient(image) for image in images):
            return front
        cases = CaseState.all(self._session.scene)
        return next((case for case in cases if case.volume is not None and images == [case.volume]), None)

    def _volumes(self, case: CaseState) -> list:
        every = nodesByClass(self._session.scene, "vtkMRMLScalarVolumeNode")
        own = (case.volume, case.heatMap, case.logMap)
        return [n for n in every if n not in own and n.GetImageData() and not n.IsA("vtkMRMLLabelMapVolumeNode")]

    def _patient(self, volumeNode) -> tuple[str, str] | None:
        """Whose volume it is, where that is known: from DICOM headers we read, or Slicer's subject hierarchy."""
        key = self._session.sources.patient(volumeNode)
        if key:
            return ("header", key)
        hierarchy = vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._session.scene)
        item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy else 0
        patient = hierarchy.GetItemAncestorAtLevel(item, "Patient") if item else 0
        return ("hierarchy", str(patient)) if patient else None


class LinkedSlices:
    """Two slice nodes that show the same plane at the same zoom, whichever of them is moved.

    A view that changes its size gets a zoom of its own from Slicer: then the first one leads.
    """

    def __init__(self, first, second):
        self._nodes = (first, second)
        self._busy = False
        self._sizes = self._dimensions()
        event = vtkCommand.ModifiedEvent
        self._tags = [node.AddObserver(event, lambda caller, _event: self._follow(caller)) for node in self._nodes]
        self._follow(first)

    def close(self) -> None:
        """Let both go their own way."""
        for node, tag in zip(self._nodes, self._tags):
            node.RemoveObserver(tag)
        self._tags = []

    def _follow(self, moved) -> None:
        if self._busy:
            return
        first, second = self._nodes
        sizes, self._sizes = self._sizes, self._dimensions()
        source, target = (first, second) if moved is first or sizes != self._sizes else (second, first)
        self._busy = True
        try:
            if not _sameMatrix(source.GetSliceToRAS(), target.GetSliceToRAS()):
                target.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
                target.UpdateMatrices()
            self._zoom(source, target)
        finally:
            self._busy = False

    def _dimensions(self) -> list:
        return [node.GetDimensions() for node in self._nodes]

    @staticmethod
    def _zoom(source, target) -> None:
        """The same millimetres per pixel: the views may differ in size."""
        (width, height, _), (columns, rows, _) = source.GetFieldOfView(), source.GetDimensions()
        ours, theirs, _depth = target.GetDimensions()
        if min(columns, rows, ours, theirs) < 1 or width <= 0:
            return
        wanted = (width / columns * ours, height / rows * theirs, target.GetFieldOfView()[2])
        if not np.allclose(wanted[:2], target.GetFieldOfView()[:2], rtol=1e-6):
            target.SetFieldOfView(*wanted)
        if not np.allclose(source.GetXYZOrigin(), target.GetXYZOrigin()):
            target.SetXYZOrigin(source.GetXYZOrigin())


def _sameMatrix(first, second) -> bool:
    return all(abs(first.GetElement(i, j) - second.GetElement(i, j)) < 1e-9 for i in range(3) for j in range(4))


def _overlap(first, second) -> bool:
    """Whether the boxes of two volumes share space (RAS, parent transforms included)."""
    boxes = []
    for node in (first, second):
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        boxes.append(np.array(bounds).reshape(3, 2))
    return bool(np.all(np.minimum(boxes[0][:, 1], boxes[1][:, 1]) > np.maximum(boxes[0][:, 0], boxes[1][:, 0])))
