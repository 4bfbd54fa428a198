"""What changes under the open panel in a real Slicer, and whether the reader sees it: image, views, words, places."""

import desk
import numpy as np
import slicer
from onpanel import case, choose, message, panel, waitIdle, waitInSight


def _corrector():
    return panel()._sections["regions"].corrector


def _tools() -> None:
    """Open the tools with the mouse."""
    panel().ui.regionsSection.collapsed = False
    desk.settle(0.3)
    desk.click(panel().ui.editButton)
    desk.waitFor(lambda: _corrector().isOpen, "the tools", 10)
    desk.settle(0.5)


def _brightest() -> tuple:
    """The brightest place (LPS) of the drawn ventricles, on the slice that shows most of them."""
    from cnsifusion.mrml.drawn import segmentIdOf, segmentMask
    from cnsifusion.mrml.volumes import volumeFromNode

    head, regions = volumeFromNode(case().volume), case().segmentation
    drawn = segmentMask(regions, segmentIdOf(regions, "CSF ventricles"), case().volume)
    k = int(np.argmax(drawn.sum(axis=(1, 2))))
    j, i = np.unravel_index(int(np.argmax(np.where(drawn[k], head.array[k], -np.inf))), drawn[k].shape)
    return tuple(head.grid.to_lps((i, j, k)))


def _copyOfTheImage(name: str):
    """Another volume node with the same voxels at the same place."""
    from cnsifusion.mrml.volumes import addVolumeNode, volumeFromNode

    return addVolumeNode(slicer.mrmlScene, volumeFromNode(case().volume), name)


def test_the_verdict_stays_in_sight_and_nothing_moves_under_the_mouse():
    """The step was folded when the check ended: its verdict never seen, and another button where the mouse went."""
    desk.showWindow()
    desk.openPanel()
    volume = desk.loadT2()
    desk.waitFor(lambda: panel().volume() is volume, "the only image", 20)
    desk.settle(0.2)
    before = panel().ui.proposeButton.mapTo(slicer.util.mainWindow(), panel().ui.proposeButton.rect.topLeft())
    waitIdle()
    assert "Suitable" in panel().ui.imageLines.text and not panel().ui.imageSection.collapsed
    after = panel().ui.proposeButton.mapTo(slicer.util.mainWindow(), panel().ui.proposeButton.rect.topLeft())
    assert abs(after.y() - before.y()) < 30, (before, after)
    desk.click(panel().ui.proposeButton)
    desk.settle(0.2)
    waitIdle()
    assert panel().ui.imageSection.collapsed  # done with
    panel().session.analyze()
    waitIdle(240)
    assert panel().ui.resultFrame.visible, message()


def test_an_image_that_changes_makes_the_result_stale_at_once():
    """By another module, with the panel open: the number went on standing there as one of this image."""
    volume, result = case().volume, panel().ui.resultLines
    spacing, voxels = volume.GetSpacing(), slicer.util.arrayFromVolume(volume)
    linear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")

    def turned() -> None:
        voxels[:] = voxels[::-1].copy()
        slicer.util.arrayFromVolumeModified(volume)

    def under(transformId):
        return lambda: volume.SetAndObserveTransformNodeID(transformId)

    for change, back in (
        (turned, turned),
        (lambda: volume.SetSpacing(2 * spacing[0], *spacing[1:]), lambda: volume.SetSpacing(*spacing)),
        (under(linear.GetID()), under(None)),
    ):
        change()
        desk.waitFor(lambda: "analyze again" in result.text or "different transforms" in result.text, "the warning", 10)
        assert not panel().ui.heatCheck.enabled
        back()
        desk.waitFor(lambda: not result.text, "the end of the warning", 20)
        waitIdle()
    slicer.mrmlScene.RemoveNode(linear)


def test_an_image_that_was_put_right_is_checked_anew():
    """What was refused for its spacing stayed refused after that was corrected."""
    volume, spacing = case().volume, case().volume.GetSpacing()
    volume.SetSpacing(*(size / 10 for size in spacing))
    desk.waitFor(lambda: "Outside intended use" in panel().ui.imageLines.text, "the refusal", 20)
    assert not panel().ui.analyzeButton.enabled
    volume.SetSpacing(*spacing)
    desk.waitFor(lambda: "Suitable" in panel().ui.imageLines.text, "the new check", 30)
    waitIdle()
    assert not panel().ui.resultLines.text and panel().ui.analyzeButton.enabled


def test_undo_among_the_tools_leaves_them_where_they_are():
    """The result was one of these regions again, and the panel went there, away from the tools."""
    panel().ui.largeViewCheck.checked = True
    _tools()
    from CNSIFusionLib import views

    effect, place = _corrector().widget.activeEffect().self(), _brightest()
    views.jumpTo(place)
    desk.settle(0.3)
    effect._options.ui.eraseButton.click()
    desk.clickAt(place)
    desk.waitFor(lambda: "changed since" in panel().ui.resultLines.text, "the warning", 10)
    assert "out of date" in panel().ui.resultSection.text
    desk.key("ctrl+z")
    desk.waitFor(lambda: not panel().ui.resultLines.text, "the result as it was", 10)
    desk.settle(0.6)
    waitInSight(effect._options.ui.toolFrame, effect._options.ui.actionFrame)
    assert "out of date" not in panel().ui.resultSection.text


def test_the_key_works_where_the_mouse_is():
    """After a click on the panel's buttons E did nothing, and the next click added where it should have erased."""
    from CNSIFusionLib import views

    effect, place = _corrector().widget.activeEffect().self(), _brightest()
    views.jumpTo(place)
    desk.click(effect._options.ui.addButton)
    desk.moveTo(place)
    desk.key("e")
    assert effect.controller.erase
    desk.key("e")
    assert not effect.controller.erase


def test_tools_are_put_away_where_the_views_show_another_image():
    """After Slicer's question whether to show the hidden region they drew it over another patient."""
    from CNSIFusionLib import views

    other, regions = _copyOfTheImage("Another man"), case().segmentation.GetDisplayNode()
    assert _corrector().isOpen
    slicer.util.setSliceViewerLayers(background=other)
    desk.waitFor(lambda: not _corrector().isOpen, "the tools' end", 5)
    assert not regions.GetVisibility()
    waitInSight(panel().ui.messageLabel)
    assert "Another man" in message()
    _tools()  # with the image that they are for
    assert views.imagesShown() == [case().volume] and regions.GetVisibility() and not panel().elsewhere
    panel().closeTools()
    slicer.mrmlScene.RemoveNode(other)
    waitIdle()


def _fails():
    from cnsifusion.errors import BadInput

    raise BadInput("This cannot be done.")


def test_what_went_wrong_is_in_sight():
    """The words stand at the top of the panel; whoever pressed a button far below saw nothing happen."""
    desk.reveal(panel().ui.reportButton)
    desk.settle(0.3)
    panel().guarded(_fails)
    desk.waitFor(lambda: "cannot be done" in message(), "the words", 5)
    waitInSight(panel().ui.messageLabel)
    panel().guarded(lambda: None)
    waitIdle()


def _assign(node, segment: str, name: str) -> None:
    """Choose them under “Use segments drawn elsewhere” and press the button."""
    ui = panel().ui
    ui.regionsSection.collapsed = ui.assignGroup.collapsed = False
    ui.segmentationSelector.setCurrentNode(node)
    desk.settle(0.3)
    ui.segmentCombo.setCurrentText(segment)
    ui.nameCombo.setCurrentText(name)
    desk.click(ui.assignButton)
    desk.settle(0.6)


def _rows() -> dict:
    return {row.name: (row.state, row.milliliters) for row in panel()._sections["regions"]._rows}


def _drawnElsewhere(name: str, at: tuple):
    """A segmentation of the reader's own with one block in it."""
    from cnsifusion.mrml.drawn import orientedImage

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} elsewhere")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(case().volume)
    i, j, k = at
    block = orientedImage(np.ones((2, 20, 20)), (i, i + 19, j, j + 19, k, k + 1), case().volume)
    node.AddSegmentFromBinaryLabelmapRepresentation(block, name, [1.0, 0.0, 0.0])
    return node


def test_a_segment_drawn_elsewhere_joins_the_regions_and_undo_takes_it_back():
    """The case forgot its other regions for it, though they stayed in the views."""
    before, regions = _rows(), case().segmentation
    own = _drawnElsewhere("My own", (100, 100, 12))
    _assign(own, "My own", "Sub-lentiform left")
    assert case().segmentation is regions, message()
    rows = _rows()
    assert {name: row for name, row in rows.items() if name != "Sub-lentiform left"} == {
        name: row for name, row in before.items() if name != "Sub-lentiform left"
    }
    assert rows["Sub-lentiform left"][0] == "imported"
    volume = case().volume.GetSpacing()
    assert abs(rows["Sub-lentiform left"][1] - 800 * volume[0] * volume[1] * volume[2] / 1000) < 0.001
    assert own.GetSegmentation().GetNthSegment(0).GetName() == "My own" and not own.GetDisplayNode().GetVisibility()
    assert "Undo" in message()
    _tools()
    desk.key("ctrl+z")
    desk.settle(0.6)
    panel().closeTools()
    waitIdle()
    assert _rows() == before
    slicer.mrmlScene.RemoveNode(own)


def test_regions_of_another_patient_are_not_taken():
    mine, before = case(), _rows()
    other = _copyOfTheImage("Patient B")
    choose(other)
    waitIdle()
    panel().session.propose()
    waitIdle(240)
    theirs = case().segmentation
    choose(mine.volume)
    waitIdle()
    _assign(theirs, "CSF ventricles", "CSF ventricles")
    assert "Patient B" in message() and case().segmentation is mine.segmentation and _rows() == before


def test_a_segment_that_is_gone_is_not_offered():
    own = _drawnElsewhere("Soon gone", (100, 100, 12))
    ui = panel().ui
    ui.segmentationSelector.setCurrentNode(own)
    desk.settle(0.3)
    assert ui.segmentCombo.currentText == "Soon gone" and ui.assignButton.enabled
    own.GetSegmentation().GetNthSegment(0).SetName("Renamed")
    desk.waitFor(lambda: ui.segmentCombo.currentText == "Renamed", "the new name", 5)
    own.GetSegmentation().RemoveAllSegments()
    desk.waitFor(lambda: not ui.assignButton.enabled, "the empty list", 5)
    slicer.mrmlScene.RemoveNode(own)


def test_another_series_beside_the_image_leaves_the_zoom_as_it_was():
    """The zoom that Slicer gave the new view for its size became the image's too: half of the head was cut off."""
    other, axial = _copyOfTheImage("FLAIR of it"), desk.sliceWidget().mrmlSliceNode()
    panel().ui.largeViewCheck.checked = False
    desk.settle(0.5)
    slicer.util.resetSliceViews()
    desk.settle(0.3)
    before, size = axial.GetFieldOfView(), axial.GetDimensions()
    for node in (other, None):
        panel().ui.besideSelector.setCurrentNode(node)
        panel().ui.besideSelector.nodeActivated(node)
        desk.waitFor(lambda n=node: (axial.GetDimensions() == size) == (n is None), "the layout", 30)
        desk.settle(0.5)
        assert axial.GetFieldOfView()[1] > 0.9 * before[1], axial.GetFieldOfView()
    assert np.allclose(axial.GetFieldOfView(), before, rtol=0.1), axial.GetFieldOfView()
    slicer.mrmlScene.RemoveNode(other)


def test_what_went_wrong_with_a_patient_goes_with_the_scene():
    """It stood over the patient of the next scene."""
    panel().guarded(_fails)
    desk.waitFor(lambda: "cannot be done" in message(), "the words", 5)
    slicer.mrmlScene.Clear()
    desk.waitFor(lambda: not message(), "their end", 5)
