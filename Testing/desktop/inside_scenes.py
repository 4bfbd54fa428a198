"""Scenes in a real Slicer: saved, loaded, reloaded, closed in mid-run, and left; two patients in one."""

import desk
import numpy as np
import qt
import slicer
from onpanel import alive, analyzeAgain, anotherImageComes, case, choose, message, panel, waitIdle

_state = {}


def test_a_scene_loaded_before_the_panel_was_opened_is_watched_too():
    """Its regions lay over whatever image was opened next, until the panel was opened."""
    import tempfile

    from cnsifusion.mrml.case import CaseState
    from cnsifusion.mrml.segmentation import addSegmentationNode

    assert not hasattr(slicer.modules, "CNSIFusionWidget"), "the panel was made before"
    image = slicer.util.addVolumeFromArray(np.ones((4, 9, 9), np.int16), name="Of the scene")
    made = CaseState.forVolume(slicer.mrmlScene, image)
    made.segmentation = addSegmentationNode(slicer.mrmlScene, image)
    made.activate()
    slicer.util.setSliceViewerLayers(background=image)
    with tempfile.TemporaryDirectory() as folder:
        assert slicer.util.saveScene(f"{folder}/case.mrb")
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(f"{folder}/case.mrb")
    desk.settle(0.3)
    assert slicer.util.moduleSelector().selectedModule != "CNSIFusion"
    regions = CaseState.active(slicer.mrmlScene).segmentation.GetDisplayNode()
    anotherImageComes(regions)


def test_an_analyzed_patient_is_in_the_scene():
    desk.showWindow()
    desk.openPanel()
    _state["volume"] = desk.loadT2()
    choose(_state["volume"])
    waitIdle()
    panel().session.analyze()
    waitIdle(240)
    assert message() == "", message()
    assert panel().ui.resultFrame.visible and panel().session.reportFile() is not None


def test_scene_saved_and_loaded_stands_as_it_was():
    import tempfile

    headline, node = panel().ui.headlineLabel.text, desk.sliceWidget().mrmlSliceNode()
    node.SetFieldOfView(*(0.5 * size for size in node.GetFieldOfView()[:2]), node.GetFieldOfView()[2])
    node.SetSliceOffset(node.GetSliceOffset() + 9)
    seen = [*node.GetFieldOfView(), node.GetSliceOffset()]
    case().pretest = 0.2
    desk.settle(0.3)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/case.mrb"
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear()
        desk.settle(0.3)
        assert not panel().ui.resultFrame.visible
        assert panel().volume() is None
        slicer.util.loadScene(path)
        desk.waitFor(lambda: panel().ui.resultFrame.visible, "the panel after loading", 20)
    desk.settle(0.3)
    node = desk.sliceWidget().mrmlSliceNode()
    assert np.allclose([*node.GetFieldOfView(), node.GetSliceOffset()], seen), "the view that the reader saved"
    assert panel().ui.headlineLabel.text == headline
    assert abs(panel().ui.pretestBox.value - 20) < 1e-6
    assert panel().ui.instanceTable.rowCount > 0
    assert "stale" not in panel().ui.resultLines.text and "changed" not in panel().ui.resultLines.text
    desk.waitFor(lambda: panel().ui.reportButton.enabled, "the report made from the saved scene", 20)
    assert panel().session.reportFile().with_name("key_images.png").exists()
    assert panel().ui.pdfButton.enabled
    _state["volume"] = panel().volume()


def test_tables_cut_nothing_off_in_large_letters_too():
    panel().ui.contributionGroup.collapsed = False
    usual, large = slicer.app.font(), slicer.app.font()
    large.setPointSize(14)
    try:
        for font in (usual, large):
            slicer.app.setFont(font)
            desk.settle(1.0)
            for table in (panel().ui.instanceTable, panel().ui.contributionTable):
                _assertReadable(table, namesToo=font is usual)
    finally:
        slicer.app.setFont(usual)
        panel().ui.contributionGroup.collapsed = True


def _assertReadable(table, namesToo: bool) -> None:
    """Titles and rows are cut off nowhere; with ``namesToo`` no name of a feature is."""
    letters, header = qt.QFontMetrics(table.font), table.horizontalHeader()
    for column in range(table.columnCount):
        assert header.sectionSize(column) >= header.sectionSizeHint(column), (table.name, column)
    for row in range(table.rowCount):
        item = table.item(row, 0)
        cell = table.visualItemRect(item)
        lines = item.text().splitlines() or [""]
        assert cell.height() >= len(lines) * letters.height(), (table.name, row)
        assert not namesToo or cell.width() > max(map(letters.horizontalAdvance, lines)), item.text()


def test_tab_and_enter_reach_slices_and_what_lies_below_them():
    """The table kept the Tab key, and Enter did nothing."""
    table = panel().ui.instanceTable
    assert "Slice 1 is the lowest; Slicer's Data Probe counts from 0" in table.toolTip
    desk.reveal(table)
    (line, column), row = max(panel()._sections["result"]._rows.items())
    table.setCurrentCell(line, column)
    table.setFocus()
    desk.xdotool("key", "Return")
    desk.waitFor(lambda: case().selectedInstance == row.key, "the slice of the cell", 5)
    desk.xdotool("key", "Tab")
    assert not table.hasFocus()


def test_another_image_in_the_views_is_told_from_the_cases():
    """Slicer shows what it loads in every view: one patient's number and outlines stood beside and over another."""
    first = _state["volume"]
    array = np.asarray(slicer.util.arrayFromVolume(first))
    loaded = slicer.util.addVolumeFromArray(array, name="Loaded next")
    slicer.util.setSliceViewerLayers(background=loaded)
    desk.waitFor(lambda: "views show Loaded next" in panel().ui.resultLines.text, "the warning", 5)
    composite = desk.sliceWidget().mrmlSliceCompositeNode()
    panel().markDirty()
    desk.settle(0.3)
    assert not composite.GetForegroundVolumeID() and "views show Loaded next" in message()
    assert not case().segmentation.GetDisplayNode().GetVisibility()
    choose(first)  # it is the chosen one already
    desk.waitFor(lambda: panel().elsewhere == "", "the image's way back", 5)
    desk.settle(0.3)
    assert composite.GetBackgroundVolumeID() == first.GetID() and message() == ""
    assert composite.GetForegroundVolumeID() == case().shownMap.GetID()
    assert case().segmentation.GetDisplayNode().GetVisibility()
    slicer.mrmlScene.RemoveNode(loaded)


def test_with_the_panel_left_nothing_lies_over_an_image_of_another():
    """Nothing hid regions and maps over an image opened from another module until the panel was opened again."""
    first, composite = _state["volume"], desk.sliceWidget().mrmlSliceCompositeNode()
    regions, heat = case().segmentation.GetDisplayNode(), case().shownMap
    clone = slicer.modules.volumes.logic().CloneVolume
    others = [clone(slicer.mrmlScene, first, f"Opened from Data {number}") for number in (1, 2)]
    slicer.util.selectModule("SegmentEditor")
    desk.settle(0.3)
    assert regions.GetVisibility() and composite.GetForegroundVolumeID() == heat.GetID(), "over their own image"
    for other in others:
        slicer.util.setSliceViewerLayers(background=other)
        desk.waitFor(lambda: not regions.GetVisibility(), "the regions leaving the views", 2)
        assert not composite.GetForegroundVolumeID()
        regions.SetVisibility(True)  # by the eye of the Data module: over this image it is the reader's own wish
        desk.settle(0.3)
        assert regions.GetVisibility()
    slicer.util.setSliceViewerLayers(background=first)
    desk.waitFor(lambda: composite.GetForegroundVolumeID() == heat.GetID(), "the map's way back", 2)
    assert regions.GetVisibility()
    slicer.util.setSliceViewerLayers(background=others[0])
    slicer.util.selectModule("CNSIFusion")
    choose(first)
    desk.waitFor(lambda: composite.GetForegroundVolumeID() == heat.GetID(), "the map in the panel", 5)
    assert regions.GetVisibility()
    for node in others:
        slicer.mrmlScene.RemoveNode(node)


def test_regions_that_arrive_with_the_panel_left_do_not_lie_over_an_image_of_another():
    from cnsifusion.mrml.segmentation import addSegmentationNode

    first, former, bar = _state["volume"], case().segmentation, slicer.util.mainWindow().statusBar()
    slicer.util.selectModule("Data")
    case().segmentation = None
    desk.settle(0.3)
    slicer.util.showStatusMessage("of another module")
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "Opened meanwhile")
    slicer.util.setSliceViewerLayers(background=other)
    desk.settle(0.3)
    assert bar.currentMessage() == "of another module", "nothing was hidden"
    arrived = addSegmentationNode(slicer.mrmlScene, first)
    case().segmentation = arrived
    desk.waitFor(lambda: not arrived.GetDisplayNode().GetVisibility(), "the regions leaving the views", 2)
    assert "hides regions" in bar.currentMessage() and "show Opened meanwhile" in bar.currentMessage()
    slicer.util.setSliceViewerLayers(background=first)
    desk.waitFor(lambda: arrived.GetDisplayNode().GetVisibility(), "the regions over their image", 2)
    assert bar.currentMessage() == "", "said of images that are no longer shown"
    case().segmentation = former
    for node in (other, arrived):
        slicer.mrmlScene.RemoveNode(node)
    slicer.util.selectModule("CNSIFusion")
    waitIdle()


def test_an_image_of_another_laid_over_the_cases_hides_its_regions_while_it_can_be_seen():
    first, composite = _state["volume"], desk.sliceWidget().mrmlSliceCompositeNode()
    regions, heat = case().segmentation.GetDisplayNode(), case().shownMap
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "Laid over")
    composite.SetForegroundVolumeID(other.GetID())
    composite.SetForegroundOpacity(0.0)
    desk.settle(0.3)
    assert regions.GetVisibility(), "nothing of the other can be seen"
    composite.SetForegroundOpacity(0.5)
    desk.waitFor(lambda: "views show Laid over" in panel().elsewhere, "the warning", 2)
    desk.waitFor(lambda: not regions.GetVisibility(), "the regions leaving the views", 2)
    choose(first)
    desk.waitFor(lambda: composite.GetForegroundVolumeID() == heat.GetID(), "the map's way back", 5)
    assert regions.GetVisibility()
    slicer.mrmlScene.RemoveNode(other)


def test_a_map_shown_in_one_view_comes_back_in_that_one_and_hidden_regions_stay_hidden():
    """It came back in all views, and each redraw of the panel showed the regions again."""
    first, regions = _state["volume"], case().segmentation.GetDisplayNode()
    red, yellow, green = (desk.sliceWidget(n).mrmlSliceCompositeNode() for n in ("Red", "Yellow", "Green"))
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "Meanwhile")

    def shown() -> list:
        return [view.GetForegroundVolumeID() or "" for view in (red, yellow, green)]

    yellow.SetForegroundVolumeID(None)
    green.SetForegroundVolumeID(other.GetID())  # the reader's own
    green.SetForegroundOpacity(0.0)
    regions.SetVisibility(False)
    panel().markDirty()
    desk.settle(0.3)
    wanted = [case().shownMap.GetID(), "", other.GetID()]
    assert shown() == wanted and not regions.GetVisibility()
    slicer.util.setSliceViewerLayers(background=other)
    desk.waitFor(lambda: shown()[0] == "", "the map leaving the views", 2)
    slicer.util.setSliceViewerLayers(background=first)
    desk.waitFor(lambda: shown() == wanted, "the map's way back", 2)
    for ticked in (False, True):
        panel().ui.heatCheck.setChecked(ticked)
        desk.waitFor(lambda ticked=ticked: bool(shown()[0]) == ticked, "the tick", 2)
    panel().ui.mapCombo.setCurrentIndex(1 - panel().ui.mapCombo.currentIndex)
    panel().ui.mapCombo.activated(panel().ui.mapCombo.currentIndex)
    desk.waitFor(lambda: shown() == [case().shownMap.GetID(), "", other.GetID()] != wanted, "the other map", 2)
    desk.settle(0.3)
    assert not regions.GetVisibility()
    case().chosenMap, case().mapViews = "logMap", []
    slicer.mrmlScene.RemoveNode(other)
    regions.SetVisibility(True)
    choose(first)
    waitIdle()


def test_what_a_view_off_the_screen_shows_hides_nothing():
    """Views keep their image when the layout no longer has them: the regions were hidden for one nobody saw."""
    manager, former = slicer.app.layoutManager(), slicer.app.layoutManager().layout
    hidden = desk.sliceWidget("Yellow").mrmlSliceCompositeNode()
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, _state["volume"], "Off the screen")
    hidden.SetBackgroundVolumeID(other.GetID())
    desk.waitFor(lambda: "views show Off the screen" in panel().elsewhere, "the warning", 2)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    desk.waitFor(lambda: not panel().elsewhere, "the end of the warning", 2)
    desk.settle(0.3)
    assert case().segmentation.GetDisplayNode().GetVisibility()
    hidden.SetBackgroundVolumeID(_state["volume"].GetID())
    manager.setLayout(former)
    slicer.mrmlScene.RemoveNode(other)


def test_module_reloads():
    slicer.modules.cnsifusion.widgetRepresentation().self().onReload()
    desk.settle(0.5)
    assert panel().volume() is _state["volume"]
    waitIdle()
    desk.waitFor(lambda: panel().ui.resultFrame.visible, "the result after a reload", 20)


def test_two_patients_do_not_mix():
    first = _state["volume"]
    second = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "Second")
    choose(second)
    waitIdle()
    assert panel().volume() is second
    assert not panel().ui.resultFrame.visible
    assert all(row.milliliters == 0 for row in panel()._sections["regions"]._rows)
    regions = next(c for c in type(case()).all(slicer.mrmlScene) if c.volume is first).segmentation
    assert not regions.GetDisplayNode().GetVisibility()
    choose(first)
    waitIdle()
    desk.waitFor(lambda: panel().ui.resultFrame.visible, "the first patient's result", 20)
    assert regions.GetDisplayNode().GetVisibility()
    slicer.mrmlScene.RemoveNode(second)
    desk.settle(0.3)


def test_volume_deleted_in_mid_run():
    analyzeAgain()
    pid = panel().session.jobs.engine.pid
    slicer.mrmlScene.RemoveNode(case().volume)
    desk.waitFor(lambda: panel().session.job is None, "the end", 120)
    desk.settle(0.5)
    assert panel().volume() is None
    assert not panel().ui.analyzeButton.enabled
    assert pid != 0


def test_scene_closed_in_mid_run_stops_the_child():
    volume = desk.loadT2()
    choose(volume)
    waitIdle(120)
    panel().session.analyze()
    desk.waitFor(lambda: panel().session.jobs.engine.pid, "the child", 30)
    pid = panel().session.jobs.engine.pid
    slicer.mrmlScene.Clear()
    desk.waitFor(lambda: not alive(pid), "the child's end", 5)
    desk.settle(0.5)
    assert panel().session.job is None
    assert panel().volume() is None


def test_a_scene_closed_from_another_module_is_let_go_of():
    """The panel held the closed scene's segmentation until the reader came back to it."""
    choose(desk.loadT2())
    waitIdle(120)
    panel().session.segmentation()
    panel().markDirty()
    desk.waitFor(lambda: panel()._watched is not None, "the panel watching the regions", 5)
    slicer.util.selectModule("Data")
    desk.settle(0.2)
    slicer.mrmlScene.Clear()
    desk.waitFor(lambda: panel()._watched is None, "the panel letting go of the regions", 5)
    slicer.util.selectModule("CNSIFusion")
    desk.settle(0.3)


def test_leaving_the_application_stops_the_child():
    """The last test: what it leaves is looked at from outside."""
    waitIdle()
    panel().session.jobs.engine.warm()
    desk.settle(0.2)
    pid = panel().session.jobs.engine.pid
    widget = slicer.modules.cnsifusion.widgetRepresentation().self()
    widget.cleanup()
    widget.cleanup()
    assert not alive(pid)
    assert qt.QApplication.instance() is not None
