"""The panel in a real Slicer: the five steps with real clicks, then what can go wrong with image, regions, engine."""

import os
import signal
import time
from pathlib import Path

import desk
import numpy as np
import onpanel
import qt
import slicer
from onpanel import alive, analyzeAgain, case, choose, foldRegions, idle, message, panel, waitIdle, watchedAnalysis

_state = {}


def test_opens_and_every_disabled_button_gives_its_reason():
    desk.showWindow()
    desk.openPanel()
    buttons = [b for b in slicer.util.findChildren(panel()._widget, className="QPushButton") if b.text]
    disabled = [b for b in buttons if not b.enabled]
    assert len(disabled) >= 6, [b.text for b in disabled]
    assert [b.text for b in disabled if not b.toolTip] == []
    assert "Choose the axial T2 image first." in panel().ui.analyzeButton.toolTip
    assert "Research use only" in panel().ui.researchLabel.text


def test_chosen_image_is_checked():
    _state["volume"] = volume = desk.loadT2()  # with the panel open
    desk.waitFor(lambda: panel().volume() is volume, "the only volume to be chosen", 10)
    waitIdle()
    assert panel().ui.volumeSelector.currentNode() is volume
    assert case().check["verdict"] in ("ok", "warn"), case().check
    assert "mm" in panel().ui.imageLines.text
    red = desk.sliceWidget().sliceLogic().GetSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == volume.GetID()
    from cnsifusion.mrml.alignment import AXIAL, viewPlane
    from cnsifusion.mrml.volumes import NodeGeometry

    assert viewPlane(desk.sliceWidget().mrmlSliceNode(), NodeGeometry(volume).grid) == AXIAL


def test_proposes_with_a_click():
    desk.click(panel().ui.proposeButton)
    assert panel().session.busy
    desk.waitFor(lambda: not panel().ui.analyzeButton.enabled, "the other buttons to wait", 5)
    assert "Wait for the running job" in panel().ui.analyzeButton.toolTip
    waitIdle(240)
    assert message() == "", message()
    rows = {row.name: row.milliliters for row in panel()._sections["regions"]._rows}
    assert rows["CSF ventricles"] > 3
    assert rows["Sub-lentiform left"] > 0.3 and rows["Sub-lentiform right"] > 0.3
    from cnsifusion.mrml.segmentation import regionCentre

    z = regionCentre(case().segmentation, case().volume)[2]
    assert abs(desk.sliceWidget().mrmlSliceNode().GetSliceToRAS().GetElement(2, 3) - z) < 6, "the regions are in sight"
    assert not panel().ui.regionsSection.collapsed and not panel().ui.analyzeSection.collapsed
    onpanel.waitInSight(panel().ui.editButton, panel().ui.regionTable, panel().ui.analyzeButton)


def test_undo_brings_back_what_a_second_proposal_replaced_and_then_takes_the_first_away():
    from cnsifusion.mrml.segmentation import fingerprint, regionsInfo

    node, known = case().segmentation, regionsInfo(case().segmentation)
    proposed = fingerprint(node)
    onpanel.addVoxels()
    drawn = fingerprint(node)
    foldRegions(False)
    desk.click(panel().ui.proposeButton)
    waitIdle(240)
    desk.waitFor(lambda: "brings the former regions back" in message(), "the word on undo", 5)
    assert fingerprint(node) == proposed != drawn
    foldRegions(False)
    desk.click(panel().ui.editButton)
    editor = panel()._sections["regions"].corrector.widget
    onpanel.waitInSight(panel().ui.editButton, slicer.util.findChild(editor, "eraseButton"))
    undo, redo = (slicer.util.findChild(editor, name) for name in ("UndoButton", "RedoButton"))
    for button, expected in ((undo, drawn), (undo, ""), (redo, drawn), (redo, proposed)):
        desk.click(button)
        assert fingerprint(node) == expected, button.name
        assert undo.enabled == bool(expected) == bool(node.GetSegmentation().GetSegmentIDs())
        assert regionsInfo(node) == (known if expected else ({}, []))
        desk.waitFor(lambda e=expected: editor.currentSegmentID() == ("CSF ventricles" if e else ""), "the region", 5)
        desk.waitFor(lambda e=expected: bool(editor.activeEffect()) == bool(e), "the tools, as there are regions", 5)
        desk.waitFor(lambda e=expected: panel().ui.regionLines.visible != bool(e), "the word on what to do", 5)
    display = node.GetDisplayNode()
    assert not display.GetSegmentVisibility("Lateral ventricles") and display.GetSegmentVisibility("CSF ventricles")
    desk.click(panel().ui.editButton)
    waitIdle()
    foldRegions(True)


def test_analyzes_with_progress_and_shows_the_score():
    assert panel().ui.analyzeButton.enabled, panel().ui.analyzeButton.toolTip
    fractions = []
    start = time.monotonic()
    desk.click(panel().ui.analyzeButton)
    desk.waitFor(lambda: fractions.append(panel().ui.progressBar.value) or idle(), "the analysis", 240)
    desk.measures["analysis_seconds"] = round(time.monotonic() - start, 2)
    desk.settle(0.3)
    assert message() == "", message()
    assert len(set(fractions)) >= 4, fractions
    assert fractions[: fractions.index(max(fractions))] == sorted(fractions[: fractions.index(max(fractions))])
    from cnsifusion.analysis.result import percent
    from cnsifusion.mrml.results import resultOf

    result = resultOf(case())
    text = panel().ui.headlineLabel.text
    assert percent(result.patient.probability) in text
    assert ("DEMONSTRATION" in text) == result.demonstration
    assert text.count("font-size:15pt") == 2  # the verdict is as large as the number
    chart = panel()._sections["result"]._rows
    assert {row.key for row in chart.values()} == {i.key for i in result.instances} != set()
    assert all("right" in row.text for (_line, column), row in chart.items() if column == 0)
    assert panel().ui.sidesLabel.visible
    assert "slices above threshold" in panel().ui.slicesLabel.text
    assert not panel().ui.resultSection.collapsed
    desk.settle(0.3)
    assert panel().ui.headlineLabel.visibleRegion().boundingRect().height() == panel().ui.headlineLabel.height
    offered = panel().ui.volumeSelector
    assert [offered.nodeFromIndex(i).GetName() for i in range(offered.nodeCount())] == [case().volume.GetName()]


def test_lines_that_wrap_are_not_cut_off():
    """Once it was left and opened again: “DEMONSTRATION, not” stood there without its second half."""
    folded = {section: section.collapsed for section in panel()._sectionWidgets().values()}

    def fold(folded_: bool) -> None:
        for section in folded:
            section.collapsed = folded_
        desk.settle(0.5)

    fold(True)
    slicer.util.selectModule("SegmentEditor")
    desk.settle(0.5)
    slicer.util.selectModule("CNSIFusion")
    fold(False)
    for label in slicer.util.findChildren(panel()._widget, className="QLabel"):
        if label.visible and label.wordWrap and label.text:
            assert label.height >= label.heightForWidth(label.width), f"{label.name}: {label.text}"
    for section, was in folded.items():
        section.collapsed = was


def test_what_arrives_in_mid_stroke_waits_for_its_end():
    panel().guarded(panel().session.analyze)
    desk.moveOver(desk.sliceWidget().sliceView())
    desk.xdotool("mousedown", 1)
    desk.settle(max(6, 2.5 * desk.measures["analysis_seconds"]))
    assert panel().session.busy
    desk.xdotool("mouseup", 1)
    waitIdle()
    assert message() == "", message()


def test_the_result_is_drawn_anew_in_another_style():
    """On a dark style black numbers and dark words stood until the next result."""
    light, headline = qt.QApplication.palette(), panel().ui.headlineLabel
    slicer.app.setPalette(qt.QPalette(qt.QColor("#323232")))
    try:
        desk.waitFor(lambda: "color:#e69f00" in headline.text, "the colours of a dark style", 5)
    finally:
        slicer.app.setPalette(light)
    desk.waitFor(lambda: "color:#9a5b00" in headline.text, "the colours of a light style", 5)


def test_gui_thread_stays_free_while_it_analyzes():
    """Asserted by the thread's own time, so that a busy machine does not count; on the clock the goal is 100 ms."""
    runs = [watchedAnalysis() for _ in range(5)]
    for name in ("longest", "longestCpu"):
        stalls = sorted(round(1000 * getattr(run, name)) for run in runs)
        desk.measures |= {f"{name}_stall_ms_median": stalls[2], f"{name}_stall_ms_worst": stalls[-1]}
    assert desk.measures["longestCpu_stall_ms_median"] <= 40, desk.measures
    assert len(set().union(*(run.sizes for run in runs))) == 1, "the views were resized"


def test_click_on_a_slice_jumps_there_with_the_heat_map():
    table = panel().ui.instanceTable
    from cnsifusion.mrml.results import resultOf

    instances = {i.key: i for i in resultOf(case()).instances}
    cells = sorted(panel()._sections["result"]._rows.items())
    for (line, column), row in (cells[0], cells[-1]):
        desk.reveal(table)
        table.scrollToItem(table.item(line, column))
        place = table.visualItemRect(table.item(line, column)).center()
        place = table.viewport().mapToGlobal(place)
        desk.xdotool("mousemove", place.x(), place.y(), "click", 1)
        desk.settle(0.3)
        assert case().selectedInstance == row.key
        offset = desk.sliceWidget().mrmlSliceNode().GetSliceToRAS()
        x, y, z = (offset.GetElement(i, 3) for i in range(3))
        from cnsifusion.mrml.volumes import NodeGeometry

        index = NodeGeometry(case().volume).grid.to_ijk((-x, -y, z))[2]
        assert abs(index - instances[row.key].slice_index) < 0.6
    composite = desk.sliceWidget().sliceLogic().GetSliceCompositeNode()
    combo = panel().ui.mapCombo
    assert composite.GetForegroundVolumeID() == case().logMap.GetID() and combo.currentText == "LoG features"
    desk.reveal(combo)
    combo.setFocus()
    desk.xdotool("key", "Down")
    desk.settle(0.3)
    assert composite.GetForegroundVolumeID() == case().heatMap.GetID()
    assert "where the network part looked" in panel().ui.heatLabel.text
    panel().ui.heatSlider.value = 0.25
    desk.settle(0.3)
    assert abs(composite.GetForegroundOpacity() - 0.25) < 1e-6
    fill = case().segmentation.GetDisplayNode().GetVisibility2DFill
    assert not fill()  # outlines alone under a map
    desk.click(panel().ui.heatCheck)
    desk.waitFor(lambda: not composite.GetForegroundVolumeID() and fill(), "the map's end", 5)
    desk.click(panel().ui.heatCheck)
    assert "not where infection is" in panel().ui.heatLabel.text


def test_pretest_probability():
    from cnsifusion.analysis.result import percent
    from cnsifusion.mrml.results import resultOf

    panel().ui.pretestBox.setValue(10)
    there = f"10 % it would be {percent(resultOf(case()).patient.at_prevalence(0.1))}."
    desk.waitFor(lambda: there in panel().ui.pretestLabel.text, f"{there} there", 5)
    panel().ui.pretestBox.setValue(0)
    desk.waitFor(lambda: "Give the pre-test" in panel().ui.pretestLabel.text, "the question again", 5)


def test_another_series_stands_beside_the_image_and_scrolls_with_it():
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, case().volume, "Other series")
    before = slicer.app.layoutManager().layout
    slicer.util.setSliceViewerLayers(background=other)  # as Slicer shows what it loads
    panel().ui.besideSelector.setCurrentNode(other)
    panel()._sections["image"]._onBeside(other)
    views = [slicer.app.layoutManager().sliceWidget(name) for name in ("Red", "Yellow")]
    red, yellow = (view.sliceLogic().GetSliceCompositeNode() for view in views)
    desk.waitFor(lambda: red.GetBackgroundVolumeID() == case().volume.GetID(), "the image in its own view", 10)
    assert yellow.GetBackgroundVolumeID() == other.GetID()
    assert views[1].visible and "not aligned" in panel().ui.imageLines.text
    views[0].mrmlSliceNode().SetSliceOffset(views[0].mrmlSliceNode().GetSliceOffset() + 8)
    assert abs(views[0].mrmlSliceNode().GetSliceOffset() - views[1].mrmlSliceNode().GetSliceOffset()) < 1e-6
    panel()._sections["image"]._onBeside(None)
    waitIdle()
    assert slicer.app.layoutManager().layout == before
    green = slicer.app.layoutManager().sliceWidget("Green").sliceLogic().GetSliceCompositeNode()
    assert [view.GetBackgroundVolumeID() for view in (red, green, yellow)] == [case().volume.GetID()] * 3
    assert case().segmentation.GetDisplayNode().GetVisibility(), "a view of the former layout kept the other series"
    other.SetOrigin(*(v + 900 for v in other.GetOrigin()))
    panel()._sections["image"]._onBeside(other)
    desk.waitFor(lambda: "lies elsewhere in space" in message(), "the words", 5)
    assert slicer.app.layoutManager().layout == before and "not aligned" not in panel().ui.imageLines.text
    panel()._sections["image"]._onBeside(None)
    slicer.mrmlScene.RemoveNode(other)


def test_the_report_is_saved_as_pdf_and_dicom_says_why_not():
    import tempfile

    desk.click(panel().ui.patientEdit)
    desk.xdotool("type", "Doe")
    assert panel().session.exports.patient == panel().ui.patientEdit.text == "Doe"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.pdf"
        panel().session.exports.saveReport(path)
        desk.waitFor(lambda: "Saved: report.pdf." in message(), "the report", 30)
        assert path.read_bytes().startswith(b"%PDF")
    assert not panel().ui.dicomOutButton.enabled
    assert "not opened from DICOM" in panel().ui.dicomOutButton.toolTip


def test_many_patients_into_a_table():
    import tempfile

    import SimpleITK as sitk

    from CNSIFusionLib import database

    panel().ui.analyzeSection.collapsed = False
    assert panel().ui.batchDatabaseButton.enabled == database.isOpen() and panel().ui.batchDatabaseButton.toolTip
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(np.full((9, 64, 64), 5, np.int16)), f"{folder}/in/flat.nrrd")
        panel().session.batch.start(Path(folder) / "in", Path(folder) / "out", panel().session.bundleFolder())
        desk.waitFor(lambda: panel().ui.batchBar.visible and panel().ui.batchCancelButton.visible, "the bar", 5)
        desk.waitFor(lambda: not panel().session.batch.view.running, "the batch", 60)
        desk.settle(0.3)
        assert "1 images analyzed, 1 without a score" in panel().ui.batchLabel.text
        assert (Path(folder) / "out" / "cohort.csv").is_file()
        assert panel().ui.batchTableButton.visible


def test_cancels_a_second_run():
    analyzeAgain()
    pid = panel().session.jobs.engine.pid
    desk.waitFor(lambda: panel().ui.cancelButton.enabled, "the cancel button", 5)
    desk.reveal(panel().ui.cancelButton)
    desk.moveOver(panel().ui.cancelButton)
    job = panel().session.job
    desk.xdotool("click", 1)
    desk.waitFor(lambda: job.cancelled, "the click", 5)
    start = time.monotonic()
    desk.waitFor(lambda: panel().session.job is None, "the cancelled job", 5)
    desk.measures["cancel_seconds"] = round(time.monotonic() - start, 2)
    assert desk.measures["cancel_seconds"] < 2.0  # the goal is 1 s
    desk.settle(0.3)
    assert "Cancelled" in message()
    assert not alive(pid)
    assert panel().ui.resultFrame.visible  # the first result stands


def test_edited_regions_make_the_result_stale():
    node = case().segmentation
    segmentId = node.GetSegmentation().GetSegmentIdBySegmentName("Sub-lentiform left")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, case().volume)
    composite = desk.sliceWidget().sliceLogic().GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == case().shownMap.GetID()
    array[tuple(np.argwhere(array)[0])] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, case().volume)
    desk.waitFor(lambda: "changed since" in panel().ui.resultLines.text, "the warning", 10)
    assert not composite.GetForegroundVolumeID(), "a map of other regions lies over the image"
    assert not panel().ui.heatCheck.enabled and "changed since" in panel().ui.heatCheck.toolTip


def test_segmentation_under_a_transform_is_analyzed_in_place():
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = transform.GetMatrixTransformToParent()
    matrix.SetElement(0, 3, 12.0)
    transform.SetMatrixTransformToParent(matrix)
    regions = panel().session.regions()
    for node in (case().volume, case().segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    moved = panel().session.regions()
    assert {n: int(m.sum()) for n, m in moved.masks.items()} == {n: int(m.sum()) for n, m in regions.masks.items()}
    for node in (case().volume, case().segmentation):
        node.SetAndObserveTransformNodeID(None)
    slicer.mrmlScene.RemoveNode(transform)
    waitIdle()


def test_killed_child_is_a_crash_and_the_next_run_works():
    analyzeAgain()
    os.kill(panel().session.jobs.engine.pid, signal.SIGSEGV)
    desk.waitFor(lambda: panel().session.job is None, "the end", 10)
    desk.settle(0.3)
    assert "stopped unexpectedly" in message(), message()
    panel().session.analyze()
    waitIdle(240)
    assert message() == "", message()


def test_bundle_with_a_flipped_byte_is_refused():
    import shutil
    import tempfile

    from cnsifusion.bundles import default_bundle_dir

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bundle"
        shutil.copytree(default_bundle_dir(), copy)
        model = copy / "model.onnx"
        content = bytearray(model.read_bytes())
        content[len(content) // 2] ^= 1
        model.write_bytes(content)
        panel().guarded(lambda: panel().session.chooseBundle(copy))
        desk.settle(0.3)
        assert "✖" in message(), message()
        assert case().bundle == ""


def test_refused_image_gives_no_score():
    array = slicer.util.arrayFromVolume(_state["volume"]).astype(np.float32)
    inverted = slicer.util.addVolumeFromArray(array.max() - array, name="Inverted")
    inverted.CopyOrientation(_state["volume"])
    choose(inverted)
    waitIdle(120)
    assert case().check["verdict"] == "refuse", case().check
    assert not panel().ui.analyzeButton.enabled
    assert "outside intended use" in panel().ui.analyzeButton.toolTip
    slicer.mrmlScene.RemoveNode(inverted)
    choose(_state["volume"])
    waitIdle()
