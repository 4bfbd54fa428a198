"""Our effect open in Slicer's Segment Editor, for the tests of the effect: its nodes, its words, what is drawn."""

import desk
import numpy as np
import slicer

state = {}


def widget():
    return state["widget"]


def effect():
    return widget().activeEffect().self()


def controller():
    return effect().controller


def voxels(name: str = "CSF ventricles") -> int:
    from cnsifusion.mrml.segmentation import segmentIdOf, segmentMask

    segmentId = segmentIdOf(state["segmentation"], name)
    return int(segmentMask(state["segmentation"], segmentId, state["volume"]).sum()) if segmentId else 0


def undoStates() -> bool:
    return slicer.util.findChild(widget(), "UndoButton").enabled


def message() -> str:
    return effect()._options.ui.messageLabel.text


def outline():
    return effect()._outlines.get(desk.sliceWidget())


def brightest(sliceIndex: int, border: float = 0.36) -> tuple:
    """LPS of the middle of the largest bright patch near the image's middle: ventricular CSF."""
    from scipy import ndimage

    from cnsifusion.mrml.volumes import NodeGeometry, volumeFromNode

    volume = volumeFromNode(state["volume"])
    picture = volume.array[sliceIndex]
    rows, columns = picture.shape
    mask = np.zeros_like(picture, bool)
    mask[int(rows * border) : int(rows * (1 - border)), int(columns * border) : int(columns * (1 - border))] = True
    level = np.percentile(picture[mask], 93)
    labels, count = ndimage.label((picture > level) & mask)
    sizes = ndimage.sum_labels(labels > 0, labels, range(1, count + 1))
    patch = labels == int(np.argmax(sizes)) + 1
    inner = ndimage.distance_transform_edt(patch)
    j, i = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return tuple(NodeGeometry(state["volume"]).grid.to_lps((i, j, sliceIndex)))


def show(lps) -> None:
    """Bring the red view to a position and enlarge it."""
    node = desk.sliceWidget().mrmlSliceNode()
    node.JumpSliceByOffsetting(-lps[0], -lps[1], lps[2])
    desk.settle(0.3)


def fresh() -> None:
    """Empty regions, no undo states, adding, the CSF tool on the ventricles."""
    from cnsifusion.mrml.segmentation import ensureSegment

    segmentation = state["segmentation"].GetSegmentation()
    segmentation.RemoveAllSegments()
    segmentId = ensureSegment(state["segmentation"], "CSF ventricles")
    widget().setCurrentSegmentID(segmentId)
    widget().setActiveEffectByName("CNSI")
    node = widget().mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    node.SourceVolumeIntensityMaskOff()
    desk.xdotool("mousemove", 5, 5)
    desk.settle(0.2)
    widget().setMaximumNumberOfUndoStates(0)
    widget().setMaximumNumberOfUndoStates(10)
    tools = controller()
    tools.tool, tools.erase, tools.tolerance, tools.neighbours = "csf", False, 0.5, 0
    tools.sensitivity, tools.leakGuard, tools.bothSides = 0.5, True, True
    controller().forget()
    effect()._options.draw()


def openEditor() -> None:
    """The real T2 in the red view, the Segment Editor on an empty segmentation of it, a point in a ventricle."""
    from cnsifusion.mrml.segmentation import addSegmentationNode

    desk.showWindow()
    state["volume"] = volume = desk.loadT2()
    state["segmentation"] = addSegmentationNode(slicer.mrmlScene, volume)
    slicer.util.selectModule("SegmentEditor")
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    state["widget"] = editor
    editor.setSegmentationNode(state["segmentation"])
    editor.setSourceVolumeNode(volume)
    fresh()
    state["slice"] = round(grid().size[2] * 0.6)
    state["point"] = brightest(state["slice"])
    show(state["point"])


def grid():
    """The image's canonical grid."""
    from cnsifusion.mrml.volumes import NodeGeometry

    return NodeGeometry(state["volume"]).grid
