"""Slicer's own rules in the CNSI effect, in a real Slicer: hidden segments, views, masking, transforms, letting go."""

import desk
import qt
import slicer
import vtk
from editing import effect, fresh, grid, message, openEditor, show, state, undoStates, voxels, widget


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


def test_hidden_segment_is_confirmed_first():
    fresh()
    display = state["segmentation"].GetDisplayNode()
    display.SetSegmentVisibility(widget().currentSegmentID(), False)
    answers = []

    def answer():
        box = qt.QApplication.activeModalWidget()
        if box is not None:
            answers.append(box.text)
            box.button(qt.QMessageBox.Cancel).click()

    timer = qt.QTimer()  # again and again: on a busy machine the question comes late
    timer.connect("timeout()", answer)
    timer.start(300)
    desk.clickAt(state["point"])
    desk.settle(1.0)
    timer.stop()
    assert answers and "hidden" in answers[0]
    assert voxels() == 0
    assert not undoStates()
    display.SetSegmentVisibility(widget().currentSegmentID(), True)


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
