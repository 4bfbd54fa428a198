"""Slicer's own rules in the CNSI effect, in a real Slicer: hidden segments, views, masking, transforms, letting go."""

import desk
import qt
import slicer
import vtk
from editing import (
    controller,
    effect,
    fresh,
    grid,
    message,
    openEditor,
    outline,
    show,
    state,
    undoStates,
    voxels,
    widget,
)


def test_open():
    openEditor()
    assert voxels() == 0 and not undoStates()


def test_nothing_to_add_means_a_message_and_no_undo_step():
    fresh()
    corner = grid().to_lps((4, 4, state["slice"]))
    desk.clickAt(corner)
    assert voxels() == 0
    assert not undoStates()
    assert message()


def answering(word, action) -> list:
    """Do something that leads to a question, and answer it; returns what was asked."""
    asked = []

    def answer():
        box = qt.QApplication.activeModalWidget()
        if box is not None:
            asked.append(box.text)
            box.button(word).click()

    timer = qt.QTimer()  # again and again: on a busy machine the question comes late
    timer.connect("timeout()", answer)
    timer.start(300)
    action()
    desk.settle(1.0)
    timer.stop()
    return asked


def test_a_field_keeps_what_is_typed_until_the_image_is_clicked():
    """The mouse that came over the image took the second digit to the view; a button gives it the keys at once."""
    fresh()
    ui = effect()._options.ui
    for field, value in ((ui.neighboursBox, 12), (slicer.util.findChild(ui.amountSlider, "SpinBox"), 0.12)):
        desk.click(field)
        desk.xdotool("key", "ctrl+a")
        desk.xdotool("type", str(value)[:-1])
        desk.moveTo(state["point"])
        desk.xdotool("type", str(value)[-1])
        desk.waitFor(lambda f=field, v=value: f.value == v, f"all of {value}", 5)
    for give in (lambda: desk.clickAt(state["point"]), lambda: desk.click(ui.addButton)):
        give()
        desk.moveTo(state["point"])
        desk.key("e")
        assert controller().erase
        controller().erase = False


def test_hidden_segment_is_confirmed_first():
    fresh()
    display = state["segmentation"].GetDisplayNode()
    display.SetSegmentVisibility(widget().currentSegmentID(), False)
    asked = answering(qt.QMessageBox.Cancel, lambda: desk.clickAt(state["point"]))
    assert len(asked) == 1 and "hidden" in asked[0]
    assert voxels() == 0 and not undoStates()
    assert len(answering(qt.QMessageBox.Yes, lambda: desk.clickAt(state["point"]))) == 1
    assert display.GetSegmentVisibility(widget().currentSegmentID())
    assert effect()._pressedIn is None, "the button was let go over the question: moving on is no stroke"
    assert voxels() == 0 and not undoStates()
    desk.clickAt(state["point"])
    assert voxels() > 20


def test_another_region_that_changes_is_confirmed_too():
    import numpy as np

    from cnsifusion.mrml.segmentation import showRegions
    from cnsifusion.roi.regions import Plane, RegionSet

    left, right = "Sub-lentiform left", "Sub-lentiform right"
    fresh()
    mask = np.zeros(grid().shape, bool)
    i, j, k = (int(v) for v in np.rint(grid().to_ijk(state["point"])))
    mask[k, j - 8 : j + 8, i + 20 : i + 40] = True
    plane = Plane(state["point"], (1.0, 0.0, 0.0))
    showRegions(RegionSet(grid(), {left: mask, right: mask & False}, midplane=plane), *nodes())
    effect().selectSegment(left)
    desk.settle(0.4)
    state["segmentation"].GetDisplayNode().SetSegmentVisibility(right, False)
    mirror = effect()._options._actions["mirror"]
    for word, drawn in ((qt.QMessageBox.Cancel, 0), (qt.QMessageBox.No, mask.sum())):
        asked = answering(word, lambda: desk.click(mirror))
        assert len(asked) == 1 and "hidden" in asked[0], (asked, message())
        assert abs(voxels(right) - drawn) <= 0.1 * drawn and undoStates() == bool(drawn)
        assert effect().segmentName == left, "the reader stays on their region"


def nodes() -> tuple:
    return state["segmentation"], state["volume"]


def test_overwrite_mode_is_honoured():
    x, y, z = state["point"]
    square = [(x + 20, y, z), (x + 30, y, z), (x + 30, y + 9, z), (x + 20, y + 9, z)]
    node = widget().mrmlSegmentEditorNode()
    left = {}
    for mode in (node.OverwriteNone, node.OverwriteAllSegments):
        fresh()
        node.SetOverwriteMode(mode)
        for name in ("Sub-lentiform left", "Sub-lentiform right"):
            effect().selectSegment(name)
            desk.settle(0.2)
            desk.drag(square)
            assert voxels(name) > 20
        left[mode] = voxels("Sub-lentiform left")
    assert left[node.OverwriteNone] > 20 and left[node.OverwriteAllSegments] == 0
    fresh()


def test_view_that_is_not_aligned_says_so_and_offers_to_align():
    fresh()
    node = desk.sliceWidget().mrmlSliceNode()
    turn = vtk.vtkTransform()
    turn.SetMatrix(node.GetSliceToRAS())
    turn.RotateX(8)
    node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
    node.UpdateMatrices()
    desk.settle(0.3)
    desk.clickAt(state["point"])
    assert "not aligned" in message()
    assert voxels() == 0
    button = effect()._options.ui.alignButton
    assert button.visible
    desk.click(button)
    show(state["point"])
    desk.clickAt(state["point"])
    assert voxels() > 20
    assert not button.visible


def test_masking_and_intensity_range_are_honoured():
    fresh()
    node = widget().mrmlSegmentEditorNode()
    array = slicer.util.arrayFromVolume(state["volume"])
    desk.clickAt(state["point"])
    free = voxels()
    assert free
    desk.key("z")
    node.SourceVolumeIntensityMaskOn()
    node.SetSourceVolumeIntensityMaskRange(float(array.max()) + 1, float(array.max()) + 2)
    desk.xdotool("mousemove_relative", 1, 0)
    desk.xdotool("click", 1)
    assertForbidden()
    node.SourceVolumeIntensityMaskOff()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
    desk.xdotool("mousemove_relative", 1, 0)
    desk.xdotool("click", 1)
    assertForbidden()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)


def assertForbidden() -> None:
    """The masking left nothing of the click: nothing is drawn, the reader is told, and there is no step to undo."""
    assert voxels() == 0
    assert "limits of drawing" in message(), message()
    assert not undoStates()


def test_linear_transform_is_handled():
    fresh()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 15.0)
    matrix.SetElement(1, 3, -7.0)
    transform.SetMatrixTransformToParent(matrix)
    desk.clickAt(state["point"])
    before = voxels()
    fresh()
    widget().setActiveEffect(None)
    for node in (state["volume"], state["segmentation"]):
        node.SetAndObserveTransformNodeID(transform.GetID())
    widget().setActiveEffectByName("CNSI")
    slicer.util.resetSliceViews()
    x, y, z = state["point"]
    moved = (x - 15.0, y + 7.0, z)  # LPS
    show(moved)
    desk.clickAt(moved)
    assert abs(voxels() - before) <= 0.05 * before, (voxels(), before)
    widget().setActiveEffect(None)
    for node in (state["volume"], state["segmentation"]):
        node.SetAndObserveTransformNodeID(None)
    slicer.mrmlScene.RemoveNode(transform)
    slicer.util.resetSliceViews()
    show(state["point"])


def test_what_moves_or_changes_under_the_active_effect_is_noticed():
    import numpy as np

    fresh()
    desk.clickAt(state["point"])
    before = voxels()
    fresh()
    controller().tolerance = 0.45
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    segmentation, volume = nodes()
    try:
        volume.SetAndObserveTransformNodeID(transform.GetID())
        assert "different transforms" in message(), message()
        segmentation.SetAndObserveTransformNodeID(transform.GetID())
        assert message() == "" and controller().tolerance in (0.45, 0.5)
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 15.0)
        transform.SetMatrixTransformToParent(matrix)
        slicer.util.resetSliceViews()
        x, y, z = state["point"]
        show((x - 15.0, y, z))
        controller().tolerance = 0.5
        desk.clickAt((x - 15.0, y, z))
        assert abs(voxels() - before) <= 0.05 * before, (voxels(), before)
    finally:
        for node in nodes():
            node.SetAndObserveTransformNodeID(None)
        slicer.mrmlScene.RemoveNode(transform)
        slicer.util.resetSliceViews()
        show(state["point"])
    array = slicer.util.arrayFromVolume(state["volume"])
    kept = array.copy()
    array[:] = array.max() - array
    state["volume"].GetImageData().Modified()
    try:
        assert np.isclose(controller().volume.array.astype(float).sum(), array.astype(float).sum(), rtol=1e-5)
    finally:
        array[:] = kept
        state["volume"].GetImageData().Modified()


def test_an_image_that_another_module_moves_is_followed():
    """Volumes > Center: another origin, no transform and no other voxels."""
    fresh()
    desk.clickAt(state["point"])
    before, volume, (x, y, z) = voxels(), state["volume"], state["point"]
    fresh()
    origin = volume.GetOrigin()
    try:
        volume.SetOrigin(origin[0] + 15.0, *origin[1:])
        slicer.util.resetSliceViews()
        show((x - 15.0, y, z))
        desk.clickAt((x - 15.0, y, z))
        assert abs(voxels() - before) <= 0.05 * before, (voxels(), before, message())
    finally:
        volume.SetOrigin(*origin)
        slicer.util.resetSliceViews()
        show(state["point"])


def test_the_source_volume_goes_and_comes_back():
    fresh()
    desk.moveTo(state["point"])
    desk.settle(0.2)
    assert outline().shown
    widget().setSourceVolumeNode(None)
    desk.xdotool("mousemove_relative", 1, 0, "click", 1)
    assert "source volume first" in message() and controller() is None
    assert voxelsUntouched() and not undoStates()
    widget().setSourceVolumeNode(state["volume"])
    assert controller() is not None and message() == ""
    fresh()
    desk.clickAt(state["point"])
    assert voxels() > 20
    copy = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, state["volume"], "Copy")
    widget().setSourceVolumeNode(copy)
    assert controller().volumeNode is copy
    slicer.mrmlScene.RemoveNode(copy)
    assert controller() is None or controller().volumeNode is state["volume"]
    widget().setSourceVolumeNode(state["volume"])
    show(state["point"])


def test_nonlinear_and_different_transforms_are_refused():
    fresh()
    widget().setActiveEffect(None)
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (30, 30, 30)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point[0] + point[1] * 0.1, point[1] + 4 * (point[0] > 40), point[2])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    bent.SetAndObserveTransformToParent(spline)
    try:
        state["segmentation"].SetAndObserveTransformNodeID(bent.GetID())
        widget().setActiveEffectByName("CNSI")
        assert "different transforms" in message(), message()
        desk.clickAt(state["point"])
        assert voxelsUntouched()
        widget().setActiveEffect(None)
        state["volume"].SetAndObserveTransformNodeID(bent.GetID())
        widget().setActiveEffectByName("CNSI")
        assert "non-linear" in message(), message()
        widget().setActiveEffect(None)
    finally:
        for node in (state["volume"], state["segmentation"]):
            node.SetAndObserveTransformNodeID(None)
        slicer.mrmlScene.RemoveNode(bent)
    fresh()


def voxelsUntouched() -> bool:
    image = slicer.vtkOrientedImageData()
    state["segmentation"].GetBinaryLabelmapRepresentation(widget().currentSegmentID(), image)
    return image.GetNumberOfPoints() == 0 or image.GetScalarRange()[1] == 0


def test_nothing_is_left_in_the_views_afterwards():
    fresh()
    desk.moveTo(state["point"])
    desk.settle(0.2)
    renderer = effect().scriptedEffect.renderer(desk.sliceWidget())
    before = renderer.GetViewProps().GetNumberOfItems()
    effectSelf = effect()
    widget().setActiveEffect(None)
    assert renderer.GetViewProps().GetNumberOfItems() < before
    assert effectSelf.controller is None and effectSelf._outlines == {}
    effectSelf.cleanup()
    effectSelf.cleanup()
    desk.moveTo((state["point"][0] + 2, *state["point"][1:]))
    desk.xdotool("click", 1)
    assert voxels() == 0
