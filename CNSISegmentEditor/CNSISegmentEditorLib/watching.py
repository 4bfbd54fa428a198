"""What the effect is told of the scene while it is active."""

import vtk


class Watch:
    """Observers on the editor's nodes, from :meth:`start` until :meth:`stop`.

    ``onEditorNode`` hears of another segment (effects are not told of it), ``onSegments`` of edits by whatever tool,
    ``onPlace`` of another transform over image or regions, and of other voxels or another place of the image.
    """

    def __init__(self, onEditorNode, onSegments, onPlace):
        self._onEditorNode, self._onSegments, self._onPlace = onEditorNode, onSegments, onPlace
        self._observed = []

    @property
    def active(self) -> bool:
        """Whether anything is observed."""
        return bool(self._observed)

    def start(self, editorNode) -> None:
        """Observe what the editor works on now."""
        self.stop()
        if editorNode is None:
            return
        self._add(editorNode, vtk.vtkCommand.ModifiedEvent, self._onEditorNode)
        segmentationNode, volume = editorNode.GetSegmentationNode(), editorNode.GetSourceVolumeNode()
        if segmentationNode is not None:
            segmentation = segmentationNode.GetSegmentation()
            self._add(segmentation, segmentation.SourceRepresentationModified, self._onSegments)
            self._add(segmentation, segmentation.SegmentModified, self._onSegments)
            self._add(segmentationNode, segmentationNode.TransformModifiedEvent, self._onPlace)
        if volume is not None:
            self._add(volume, volume.TransformModifiedEvent, self._onPlace)
            self._add(volume, volume.ImageDataModifiedEvent, self._onPlace)
            self._add(volume, vtk.vtkCommand.ModifiedEvent, self._onPlace)

    def stop(self) -> None:
        """Observe nothing any more; may be called twice."""
        for target, tag in self._observed:
            target.RemoveObserver(tag)
        self._observed = []

    def _add(self, target, event, heard) -> None:
        self._observed.append((target, target.AddObserver(event, heard)))
