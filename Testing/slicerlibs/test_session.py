"""The five steps on the headless Slicer with the real engine in its child process, and the accidents on the way."""

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import HeadlessSlicer, waitFor
from regioneditor import RegionEditor

from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.jobs import ANALYZE, CHECK
from cnsifusion.mrml.panel import panelView
from cnsifusion.mrml.results import resultOf, showResult
from cnsifusion.mrml.resultview import resultView
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.staleness import imageMark
from cnsifusion.mrml.volumes import NodeGeometry, addVolumeNode, sceneImage, volumeFromNode, voxels
from cnsifusion.roi.names import REGIONS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "imaging"))
from dicom_files import write_series  # a helper of the imaging tests

pytestmark = pytest.mark.usefixtures("demonstrationBundle")


def finish(session, seconds=300):
    waitFor(lambda: session.job is None and session.bundle() is not None, session.poll, seconds)


@pytest.fixture(scope="module")
def slicer():
    return HeadlessSlicer()


@pytest.fixture(scope="module")
def series(simulated_image, tmp_path_factory):
    """The simulated patient as a DICOM series."""
    volume, folder = read_image(simulated_image), tmp_path_factory.mktemp("dicom") / "T2"
    write_series(volume.with_array(volume.array.clip(0)), folder)
    return folder


@pytest.fixture(scope="module")
def session(slicer, series):
    """A session whose simulated patient was checked, proposed and analyzed once; ``seen`` keeps the progress."""
    session = Session(slicer.scene)
    session.seen, session.polls = [], []
    session.onChange = lambda: session.seen.append((session.job and session.job.kind, dict(session.job.progress))
                                                   if session.job else None)  # fmt: skip
    session.openImage(series)
    session.propose()  # at once: it waits for the check by itself
    finish(session)
    session.analyze()

    def poll():
        start = time.process_time()
        session.poll()
        session.polls.append(time.process_time() - start)

    waitFor(lambda: session.job is None, poll, 300)
    yield session
    session.close()


def test_the_check_comes_by_itself_and_sees_the_contrast(session):
    assert session.case.check["verdict"] in ("ok", "warn")
    assert any(f["code"] == "contrast" for f in session.case.check["findings"])


def test_regions_arrive_with_names_and_provenance(session):
    rows = {row.name: row for row in panelView(session).regions}
    assert rows["CSF ventricles"].milliliters > 3
    for name in REGIONS["sublentiform"]:
        assert 0.3 < rows[name].milliliters < 5
        assert rows[name].state == "automatic"


def test_another_image_while_the_first_is_being_checked(slicer, simulated_image):
    """The second image is checked once the first one's cancelled check has ended, and what waits for it is done."""
    session, kinds = Session(slicer.scene), []
    session.onChange = lambda: kinds.append(session.job.kind) if session.job else None
    try:
        session.openImage(simulated_image)
        first = session.case
        assert session.job.case.node is first.node
        session.openImage(simulated_image)
        second = session.case
        session.propose()
        waitFor(lambda: session.job is None and second.segmentation is not None, session.poll, 300)
        assert second.check["verdict"] in ("ok", "warn") and "propose" in kinds
        assert any(f["code"] == "contrast" for f in second.check["findings"]), "the whole check ran"
        session.chooseVolume(None)
        for case in (first, second):
            session.discard(case)
    finally:
        session.close()


def test_a_discarded_case_leaves_nothing_in_the_scene(slicer, simulated_image):
    session = Session(slicer.scene)
    try:
        before = {slicer.scene.GetNthNode(n).GetID() for n in range(slicer.scene.GetNumberOfNodes())}
        front = session.case
        session.openImage(simulated_image)
        former = session.case
        session.segmentation()
        session.discard(former)
        assert former.scene is not None, "the case in front stays"
        session.cancel()
        waitFor(lambda: session.job is None, session.poll, 60)
        session.chooseVolume(None)
        session.discard(former)
        session.discard(former)
        after = {slicer.scene.GetNthNode(n).GetID() for n in range(slicer.scene.GetNumberOfNodes())}
        assert after == before
        if front is not None:
            front.activate()
    finally:
        session.close()


def test_left_is_left(session):
    regions, grid = session.regions(), NodeGeometry(session.case.volume).grid
    for side, sign in (("left", 1), ("right", -1)):
        kji = np.argwhere(regions.masks[f"Sub-lentiform {side}"]).mean(axis=0)
        assert sign * float(regions.midplane.distance(grid.to_lps(kji[::-1]))) > 5


def test_the_result_is_in_the_scene(session):
    case, result = session.case, resultOf(session.case)
    assert 0 < result.patient.probability < 1
    assert case.instanceTable.GetNumberOfRows() == len(result.instances) + len(result.not_classified)
    assert case.contributionTable.GetNumberOfRows() == len(result.contributions)
    for node in (case.heatMap, case.logMap):
        assert NodeGeometry(node).grid.is_close(NodeGeometry(case.volume).grid)
        assert 0 < voxels(node).max() <= 1
    assert session.reportFile().read_text("utf-8").lstrip().lower().startswith("<!doctype html")
    assert case.analyzedImage == imageMark(case.volume)


def test_a_second_result_takes_the_place_of_the_first(session, slicer):
    """In the same nodes, which may be on screen; a map that the second one has not is taken away."""
    case, text, mark = session.case, session.case.resultText.GetText(), session.case.analyzedRegions
    former = [volumeFromNode(node) for node in (case.heatMap, case.logMap)]
    roles = ("resultText", "instanceTable", "contributionTable", "heatMap", "logMap")
    ids, count = [getattr(case, role).GetID() for role in roles], slicer.scene.GetNumberOfNodes()
    second = json.loads(text)
    second["instances"], second["patient"]["probability"] = second["instances"][:1], 0.125
    try:
        flipped = former[0].with_array(former[0].array[:, ::-1])
        showResult(case, json.dumps(second), sceneImage(flipped), sceneImage(former[1]))
        assert [getattr(case, role).GetID() for role in roles] == ids
        assert slicer.scene.GetNumberOfNodes() == count
        assert resultOf(case).patient.probability == 0.125
        assert case.instanceTable.GetNumberOfRows() == 1 + len(second["not_classified"])
        np.testing.assert_array_equal(volumeFromNode(case.heatMap).array, flipped.array)
        assert not np.array_equal(flipped.array, former[0].array)
        showResult(case, text, None, sceneImage(former[1]))
        assert case.heatMap is None and slicer.scene.GetNumberOfNodes() < count
    finally:
        showResult(case, text, *map(sceneImage, former))
        case.analyzedRegions = mark


def test_the_panel_says_it_in_the_protocols_words(session):
    view = panelView(session).result
    assert view.verdict == "DEMONSTRATION, not meaningful for patients"
    assert "slices above threshold, right and left of" in view.slices
    assert "does not exclude infection" in view.caveat
    assert [m.key for m in view.maps] == ["logMap", "heatMap"] and session.case.shownMap is session.case.logMap
    assert "LoG features come from, not where infection is (cell " in view.shownMap.caption
    session.case.chosenMap = "heatMap"
    view = panelView(session).result
    assert session.case.shownMap is session.case.heatMap
    assert "where the network part looked, not where infection is (cell 4.0 mm)" in view.shownMap.caption
    session.case.chosenMap = "logMap"
    session.case.pretest = 0.1
    assert panelView(session).result.atPretest.startswith("With a pre-test probability of 10 %")
    session.case.pretest = 1.0
    assert "between 0 and 100" in panelView(session).result.atPretest
    session.case.pretest = None


@pytest.mark.parametrize(("score", "shown"), [(0.9996, ">99 %"), (0.0004, "<1 %"), (0.873, "87 %")])
def test_no_score_is_shown_as_certain(session, score, shown):
    """The report never said 0 % or 100 %; the panel did."""
    result = resultOf(session.case)
    sure = replace(result, patient=replace(result.patient, probability=score, low=score, high=score))
    sure = replace(sure, instances=[replace(i, probability=score) for i in result.instances])
    view = resultView(session.case, sure)
    bars = [bar for row in view.chart for bar in (row.right, row.middle, row.left) if bar is not None]
    assert bars and {bar.percent for bar in bars} == {shown}
    assert (view.probability, view.range) == (shown, f"Range over fold models: {shown} to {shown}")
    session.case.pretest = 0.004
    assert "probability of 0.4 % it would be" in resultView(session.case, sure).atPretest
    session.case.pretest = None


def test_what_is_said_of_a_report_stays_with_its_patient(session, tmp_path):
    """Saved in a thread: by then another patient, or none, may be in front."""
    case = session.case
    session.exports.saveReport(tmp_path / "report.pdf")
    session.chooseVolume(None)
    waitFor(lambda: not session.background.busy, session.poll, 60)
    assert case.message == {"level": "info", "text": "Saved: report.pdf."} and (tmp_path / "report.pdf").exists()
    session.chooseVolume(case.volume)


def test_progress_names_its_steps(session):
    names = [progress["name"] for kind, progress in filter(None, session.seen) if kind == ANALYZE]
    assert len(dict.fromkeys(names)) >= 4
    fractions = [progress["fraction"] for kind, progress in filter(None, session.seen) if kind == ANALYZE]
    assert fractions == sorted(fractions)


def test_the_faces_thread_is_never_held_up(session):
    """CPU seconds, not wall: this machine may be busy with other things. The faces allow 100 ms."""
    assert max(session.polls) < 0.1


def test_an_edit_makes_the_result_stale_and_undo_fresh_again(session, slicer):
    editor = RegionEditor(slicer.scene, session.case.segmentation, session.case.volume)
    assert panelView(session).result.stale == ""
    assert panelView(session).steps["analyze"].state == "done"
    assert panelView(session).mapInView and panelView(session).actions["heat"].enabled
    assert editor.apply("CSF ventricles", np.ones((1, 3, 3), bool), (1, 1, 1))
    assert "analyze again" in panelView(session).result.stale
    assert panelView(session).steps["analyze"].state == "next"
    view = panelView(session)
    for key in ("heat", "report", "pdf", "dicom"):  # the former regions would go to the PACS with the former score
        assert not view.actions[key].enabled and "regions changed" in view.actions[key].tooltip
    assert not view.mapInView
    assert "maps are hidden" in view.steps["result"].lines[0].text
    editor.undo()
    assert panelView(session).result.stale == "" and panelView(session).mapInView
    session.case.heatMapShown = False
    assert not panelView(session).mapInView
    session.case.heatMapShown = True
    editor.close()


def test_regions_that_did_not_move_with_the_image_are_not_analyzed(session, slicer):
    """A transform over the image alone doubled a score, and nothing was said."""
    linear = slicer.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    session.case.volume.SetAndObserveTransformNodeID(linear.GetID())
    with pytest.raises(BadInput, match="different transforms"):
        session.analyze()
    session.case.volume.SetAndObserveTransformNodeID(None)
    slicer.scene.RemoveNode(linear)


def test_after_a_cancel_the_former_result_stays(session):
    before = resultOf(session.case).patient
    for wait in (0.0, 0.3, 0.9):
        session.analyze()
        end = time.monotonic() + wait
        waitFor(lambda end=end: time.monotonic() > end, session.poll)
        assert session.busy
        session.cancel()
        waitFor(lambda: session.job is None, session.poll, 30)
        assert session.case.message["state"] == "cancelled"
    assert resultOf(session.case).patient == before


def test_every_disabled_button_gives_its_reason(session):
    actions = panelView(session).actions
    assert actions["analyze"].enabled
    assert not actions["cancel"].enabled
    assert actions["cancel"].tooltip == "Nothing is running."
    case, session.case = session.case, None
    try:
        actions = panelView(session).actions
        assert actions["propose"].tooltip == actions["analyze"].tooltip == "Choose the axial T2 image first."
        assert [key for key, action in actions.items() if action.enabled] == ["open", "card", "batch"]
    finally:
        session.case = case


def test_a_damaged_bundle_is_named(session, demonstrationBundle, tmp_path):
    copy = shutil.copytree(demonstrationBundle, tmp_path / "bundle")
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    session.case.bundle = str(copy)
    try:
        finish(session)
        view = panelView(session)
        assert view.steps["model"].state == "problem"
        assert "model.onnx" in view.actions["analyze"].tooltip
        assert not view.actions["analyze"].enabled
    finally:
        session.chooseBundle(None)
        finish(session)


def test_a_refused_image_says_why(session, slicer):
    volume = session.case.volume
    geometry = NodeGeometry(volume)
    flat = addVolumeNode(slicer.scene, _constant(geometry), "flat")
    session.chooseVolume(flat)
    try:
        view = panelView(session)
        assert view.steps["image"].state == "problem"
        assert any("same value" in line.text for line in view.steps["image"].lines)
        assert "same value" in view.actions["propose"].tooltip
    finally:
        session.chooseVolume(volume)
        slicer.scene.RemoveNode(flat)


def _constant(geometry):
    from cnsifusion.imaging import Volume

    return Volume(np.full(geometry.grid.shape, 7, np.float32), geometry.grid)


def test_the_second_patient_sees_nothing_of_the_first(session, slicer, simulated_image):
    first = session.case
    session.openImage(simulated_image)
    try:
        assert session.case.node is not first.node
        view = panelView(session)
        assert view.result is None
        assert all(row.segmentId == "" for row in view.regions)
        assert session.job.kind == CHECK
        slicer.scene.RemoveNode(session.case.volume)  # removed while its check runs
        finish(session)
        assert panelView(session).steps["image"].state == "next"
    finally:
        session.chooseVolume(first.volume)
    assert panelView(session).result is not None


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


def restored(session) -> bool:
    """Whether the report of a loaded scene is there, or cannot be."""
    return "being made from the saved scene" not in panelView(session).actions["report"].tooltip


def test_zz_saved_and_loaded_it_stands_as_it_was(session, slicer, scenes):
    """Last but for what goes on from it: it replaces the scene."""
    before, files = panelView(session), session.reportFile().parent
    images, text = (files / "key_images.png").read_bytes(), json.loads((files / "result.json").read_text("utf-8"))
    slicer.saveScene(scenes / "case.mrb")
    session.analyze()
    worker = session.jobs.engine.pid
    slicer.openScene(scenes / "case.mrb")  # the scene is closed while an analysis runs
    session.poll()
    assert session.job is None
    assert session.jobs.engine.pid != worker
    assert session.case.node is CaseState.active(slicer.scene).node
    finish(session)
    waitFor(lambda: restored(session), session.poll, 60)
    after = panelView(session)
    assert after.result == before.result
    assert after.regions == before.regions
    assert {key: step.state for key, step in after.steps.items()} == {
        key: step.state for key, step in before.steps.items()
    }
    assert after.actions["report"].enabled and after.actions["pdf"].enabled and after.actions["dicom"].enabled
    files = session.reportFile().parent
    assert (files / "key_images.png").read_bytes() == images
    assert json.loads((files / "result.json").read_text("utf-8")) == text
    session.exports.report(scenes / "report.pdf").result()
    assert (scenes / "report.pdf").read_bytes().startswith(b"%PDF")
    session.exports.dicom(scenes / "dicom")
    waitFor(lambda: session.job is None, session.poll, 100)
    assert {path.name for path in (scenes / "dicom").iterdir()} == {"seg.dcm", "sr.dcm", "key_images.dcm"}


def test_zz_a_saved_result_whose_regions_changed_says_so(session, slicer, scenes):
    editor = RegionEditor(slicer.scene, session.case.segmentation, session.case.volume)
    assert editor.apply("CSF ventricles", np.ones((1, 3, 3), bool), (1, 1, 1))
    editor.close()
    slicer.saveScene(scenes / "edited.mrb")
    slicer.openScene(scenes / "edited.mrb")
    waitFor(lambda: restored(session), session.poll, 60)
    for key in ("report", "pdf", "dicom"):
        action = panelView(session).actions[key]
        assert not action.enabled and "regions are not those of the saved result" in action.tooltip


def test_zz_a_saved_result_of_another_image_says_so(session, slicer, scenes):
    slicer.openScene(scenes / "case.mrb")
    voxels(session.case.volume)[:] += 5
    waitFor(lambda: restored(session), session.poll, 60)
    action = panelView(session).actions["report"]
    assert not action.enabled and "image is not the one" in action.tooltip
