"""The case's state: typed, one per patient, and still there after the scene was saved and loaded."""

import json

import pytest
from test_segmentation import someRegions

from cnsifusion.errors import BadInput
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.results import Outlines
from cnsifusion.mrml.segmentation import addSegmentationNode, fingerprint, regionsFromNode, showRegions
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.volumes import NodeGeometry, volumeFromNode


def test_defaults_and_round_trip(headless, makeVolume):
    case = CaseState.forVolume(headless.scene, makeVolume())
    assert case.pretest is None
    assert case.heatMapOpacity == 0.5
    case.pretest, case.bundle, case.erase, case.check = 0.2, "/some/folder", True, {"verdict": "ok", "findings": []}
    again = CaseState.forVolume(headless.scene, case.volume)
    assert again.node is case.node
    assert (again.pretest, again.bundle, again.erase, again.check["verdict"]) == (0.2, "/some/folder", True, "ok")


def test_regions_are_outlines_alone_while_a_map_lies_over_the_image(headless, makeVolume):
    case, outlines = CaseState.forVolume(headless.scene, makeVolume()), Outlines()
    case.segmentation = addSegmentationNode(headless.scene, case.volume)
    display = case.segmentation.GetDisplayNode()
    outlines.follow(case, mapInView=False)
    assert display.GetVisibility2DFill()
    outlines.follow(case, mapInView=True)
    assert not display.GetVisibility2DFill()
    display.SetVisibility2DFill(True)  # the reader's own choice
    outlines.follow(case, mapInView=True)
    assert display.GetVisibility2DFill()
    outlines.follow(case, mapInView=False)
    outlines.follow(case, mapInView=True)
    assert not display.GetVisibility2DFill()


def test_a_default_cannot_be_changed_by_its_reader(headless, makeVolume):
    case = CaseState.forVolume(headless.scene, makeVolume())
    case.check["verdict"] = "refuse"
    assert case.check == {}


@pytest.mark.parametrize(
    ("name", "value"), [("pretest", "0.2"), ("bundle", 3), ("erase", 1), ("neighbours", True), ("check", [])]
)
def test_wrong_kinds_are_refused(headless, makeVolume, name, value):
    case = CaseState.forVolume(headless.scene, makeVolume())
    with pytest.raises(BadInput, match=name):
        setattr(case, name, value)


def test_a_damaged_scene_is_one_sentence(headless, makeVolume):
    case = CaseState.forVolume(headless.scene, makeVolume())
    case.node.SetParameter("pretest", '"often"')
    with pytest.raises(BadInput, match="pretest"):
        _ = case.pretest
    case.node.SetParameter("schemaVersion", "99")
    with pytest.raises(BadInput, match="newer"):
        CaseState(case.node)


def test_two_patients_do_not_mix(headless, makeVolume):
    first, second = (CaseState.forVolume(headless.scene, makeVolume(name=name)) for name in ("A", "B"))
    first.pretest, first.segmentation = 0.1, addSegmentationNode(headless.scene, first.volume)
    assert second.pretest is None
    assert second.segmentation is None
    first.activate()
    second.activate()
    assert CaseState.active(headless.scene).node is second.node
    headless.scene.RemoveNode(second.volume)
    assert CaseState.active(headless.scene).volume is None
    assert first.volume.GetName() == "A"


def test_a_removed_volume_is_never_another_cases(headless, makeVolume):
    case = CaseState.forVolume(headless.scene, makeVolume())
    headless.scene.RemoveNode(case.volume)
    fresh = CaseState.forVolume(headless.scene, makeVolume())
    assert fresh.node is not case.node


def test_a_deleted_image_takes_its_result_along(headless, makeVolume):
    """Its maps lit up the views alone, under the name of the patient who was put away."""
    session = Session(headless.scene)
    case = CaseState.forVolume(headless.scene, makeVolume())
    case.segmentation = addSegmentationNode(headless.scene, case.volume)
    case.logMap, case.heatMap = makeVolume(name="LoG map"), makeVolume(name="heat map")
    case.resultText = headless.scene.AddNewNodeByClass("vtkMRMLTextNode", "result")
    headless.scene.RemoveNode(case.volume)
    session.close()
    assert (case.logMap, case.heatMap, case.resultText) == (None, None, None)
    assert case.segmentation is not None  # the reader's work stays


def test_the_name_on_the_pdf_is_one_patients(headless, makeVolume):
    session = Session(headless.scene)
    first, second = (CaseState.forVolume(headless.scene, makeVolume(name=name)) for name in ("A", "B"))
    session.case = first
    session.exports.patient = "Doe, Jane"
    session.case = second
    other = session.exports.patient
    session.case = first
    again = session.exports.patient
    session.case = second
    session.discard(first)
    session.close()
    assert (other, again, session.exports.patients) == ("", "Doe, Jane", {})


def test_a_closed_scene_takes_names_and_dicom_folders_along(headless, makeVolume, tmp_path):
    """The next scene's patient has the same node id: the PDF would name, and the page offer, the one before."""
    session = Session(headless.scene)
    ids = []
    for _ in range(2):
        session.case = CaseState.forVolume(headless.scene, makeVolume())
        ids.append(session.case.node.GetID())
        found = (session.exports.patient, session.exports.dicomFolder())
        session.exports.patient = "Doe, Jane"
        session.exports._written[ids[-1]] = tmp_path
        headless.scene.Clear(False)
    session.close()
    assert ids[0] == ids[1] and found == ("", None)


def test_unchanged_values_cause_no_event(headless, makeVolume):
    case = CaseState.forVolume(headless.scene, makeVolume())
    case.pretest = 0.3
    events = []
    case.node.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    case.pretest = 0.3
    assert not events
    case.pretest = 0.4
    assert events


def test_everything_survives_the_scene_file(headless, makeVolume, tmp_path):
    volume = makeVolume(axes=("R", "A", "S"))
    case = CaseState.forVolume(headless.scene, volume)
    case.activate()
    case.segmentation = addSegmentationNode(headless.scene, volume)
    regions = someRegions(NodeGeometry(volume).grid)
    showRegions(regions, case.segmentation, volume)
    case.pretest, case.analyzedRegions = 0.15, fingerprint(case.segmentation)
    case.message = {"level": "warn", "text": "“Ärger” & <sorrow>; a: b"}
    text = headless.scene.AddNewNodeByClass("vtkMRMLTextNode", "result")
    text.SetText(json.dumps({"note": "line one\nline “two”"}))
    case.resultText = text
    voxels = volumeFromNode(volume).array
    headless.saveScene(tmp_path / "case.mrb")
    headless.openScene(tmp_path / "case.mrb")
    again = CaseState.active(headless.scene)
    assert again.volume.GetName() == "T2"
    assert (volumeFromNode(again.volume).array == voxels).all()
    assert again.pretest == 0.15
    assert again.message["text"].startswith("“Ärger”")
    assert json.loads(again.resultText.GetText())["note"] == "line one\nline “two”"
    assert fingerprint(again.segmentation) == again.analyzedRegions
    back = regionsFromNode(again.segmentation, again.volume)
    assert (back.origin, back.edited, back.notes) == (regions.origin, regions.edited, regions.notes)
    assert (back.parts == regions.parts).all()
    assert back.midplane == regions.midplane
