"""Where a volume came from, which series stands beside it, and batches: on Slicer's nodes, with real DICOM files."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import slicer
from harness import waitFor

from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image, write_volume
from cnsifusion.mrml.apart import keepApart, showMap
from cnsifusion.mrml.batch import Batch
from cnsifusion.mrml.beside import LinkedSlices
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.panel import IMAGE, panelView
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.sources import INSTANCES_ATTRIBUTE, Sources
from cnsifusion.mrml.volumes import addVolumeNode, volumeFromNode, voxels

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "imaging"))
from dicom_files import write_series  # a helper of the imaging tests


@pytest.fixture
def head(makeVolume):
    """A small whole-number volume on an oblique grid."""
    volume = volumeFromNode(makeVolume())
    return volume.with_array(volume.array.round())


@pytest.fixture
def fromSlicer(headless, head, tmp_path):
    """A volume as Slicer's DICOM module loads it, and sources that know Slicer's database."""
    files = write_series(head, tmp_path / "series")
    uids = [pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in files]
    known = dict(zip(uids, files))
    node = addVolumeNode(headless.scene, read_image(tmp_path / "series"), "T2")
    node.SetAttribute(INSTANCES_ATTRIBUTE, " ".join(uids))
    return node, Sources(lambda wanted: [known[uid] for uid in wanted if uid in known])


def test_a_volume_of_slicers_database_brings_its_acquisition(fromSlicer, tmp_path):
    node, sources = fromSlicer
    image = sources.handOver(node)(tmp_path / "job")
    acquisition = read_image(image).acquisition
    assert (acquisition.repetition_time, acquisition.echo_time, acquisition.field_strength) == (4000, 100, 1.5)
    assert (read_image(image).array == volumeFromNode(node).array).all()


def test_changed_voxels_or_a_moved_volume_are_handed_over_themselves(fromSlicer, headless, tmp_path):
    node, sources = fromSlicer
    voxels(node)[4, 5, 6] += 1
    assert read_image(sources.handOver(node)(tmp_path / "changed")).array.sum() == volumeFromNode(node).array.sum()
    assert (tmp_path / "changed" / "image.nrrd").is_file()
    voxels(node)[4, 5, 6] -= 1
    transform = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = transform.GetMatrixTransformToParent()
    matrix.SetElement(0, 3, 7.0)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = read_image(sources.handOver(node)(tmp_path / "moved"))
    assert moved.grid.is_close(volumeFromNode(node).grid)


def test_a_file_is_handed_over_while_the_volume_is_as_it_was_read(headless, head, tmp_path):
    """Else the voxels as they are shown: edited, moved, or of another volume that took a removed one's id."""
    path, sources = tmp_path / "T2.nrrd", Sources()
    write_volume(head, path)

    def read():
        node = addVolumeNode(headless.scene, read_image(path), "T2")
        sources.remember(node, path)
        assert sources.unchanged(node) == path.resolve() == sources.handOver(node)(tmp_path / "job")
        return node

    edited, moved, centred, removed, closed = read(), read(), read(), read(), read()
    edited.GetImageData().Modified()
    moved.SetAndObserveTransformNodeID(headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    centred.SetOrigin(1.0, 2.0, 3.0)
    sources.forget(removed, None)
    assert [sources.unchanged(node) for node in (edited, moved, centred, removed)] == [None] * 4
    assert sources.handOver(edited)(tmp_path / "job") == tmp_path / "job" / "image.nrrd"
    assert sources.unchanged(closed) == path.resolve()
    sources.forgetAll()
    assert sources.unchanged(closed) is None


def test_whose_a_volume_was_is_forgotten_with_it(headless, head, tmp_path):
    """Another patient's volume may take its node id."""
    write_series(head, tmp_path / "T2", PatientID="ID-1")
    removed, closed = (addVolumeNode(headless.scene, head, name) for name in ("removed", "closed"))
    sources = Sources()
    for node in (removed, closed):
        sources.remember(node, tmp_path / "T2")
    known = sources.patient(removed)
    sources.forget(removed)
    assert known and (sources.patient(removed), sources.patient(closed)) == ("", known)
    sources.forgetAll()
    assert sources.patient(closed) == ""


def test_a_series_that_left_the_database_in_part_is_not_used(fromSlicer):
    node, sources = fromSlicer
    node.SetAttribute(INSTANCES_ATTRIBUTE, node.GetAttribute(INSTANCES_ATTRIBUTE) + " 1.2.3")
    assert sources.seriesFiles(node) == []


@pytest.fixture
def session(headless):
    session = Session(headless.scene)
    yield session
    session.close()


def test_only_the_same_patients_series_stands_beside_the_image(session, headless, head, tmp_path):
    for name, number in (("T2", "ID-1"), ("FLAIR", "ID-1"), ("stranger", "ID-2")):
        write_series(head, tmp_path / name, PatientID=number)
    session.openImage(tmp_path / "T2")
    assert session.beside.shown() is None
    count = headless.scene.GetNumberOfNodes()
    with pytest.raises(BadInput, match="another patient"):
        session.beside.open(tmp_path / "stranger")
    assert headless.scene.GetNumberOfNodes() == count, "something of the refused series stays in the scene"
    flair = session.beside.open(tmp_path / "FLAIR")
    assert session.beside.shown() is flair
    session.beside.choose(None)
    assert session.beside.shown() is None
    session.case.beside, session.case.besideHidden = None, False
    assert session.beside.shown() is flair, "known to be the patient's: shown without being asked for"


def test_a_series_elsewhere_in_space_is_refused(session, headless, head, tmp_path):
    write_volume(head, tmp_path / "T2.nrrd")
    session.openImage(tmp_path / "T2.nrrd")
    far = replace(head, grid=replace(head.grid, origin=tuple(v + 900 for v in head.grid.origin)))
    with pytest.raises(BadInput, match="elsewhere"):
        session.beside.choose(addVolumeNode(headless.scene, far, "far"))


def test_a_series_of_another_frame_of_reference_is_said_to_be_one(session, headless, head, tmp_path):
    for name, frame in (("T2", "1.2.3"), ("FLAIR", "1.2.3"), ("of another day", "1.2.4"), ("unknown", "")):
        write_series(head, tmp_path / name, FrameOfReferenceUID=frame)
    session.openImage(tmp_path / "T2")

    def said():
        return [line.text for line in panelView(session).steps[IMAGE].lines if "other series" in line.text]

    assert said() == []
    for name, word in (("FLAIR", ""), ("of another day", "another frame of reference"), ("unknown", "not aligned")):
        session.beside.open(tmp_path / name)
        assert [word in text for text in said()] == ([True] if word else []), name
    session.beside.choose(None)
    assert said() == []


def test_a_series_that_is_shown_unasked_lies_where_the_image_does(session, headless, head, tmp_path):
    """The spine of the same day is the same patient's too."""
    write_series(head, tmp_path / "T2")
    far = replace(head, grid=replace(head.grid, origin=tuple(v + 900 for v in head.grid.origin)))
    write_series(far, tmp_path / "spine")
    session.openImage(tmp_path / "T2")
    spine = addVolumeNode(headless.scene, far, "spine")
    session.sources.remember(spine, tmp_path / "spine")
    assert session.beside.isOfThisPatient(spine) and session.beside.shown() is None


def test_slicers_subject_hierarchy_tells_patients_apart(session, headless, head):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(headless.scene)
    nodes = [addVolumeNode(headless.scene, head, name) for name in ("T2", "FLAIR", "other")]
    patients = [hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), name) for name in ("one", "two")]
    for node, patient in zip(nodes, (patients[0], patients[0], patients[1])):
        study = hierarchy.CreateStudyItem(patient, "study")
        hierarchy.CreateItem(study, node)  # the desktop does it by itself when a node is added
    session.chooseVolume(nodes[0])
    assert session.beside.shown() is nodes[1]
    with pytest.raises(BadInput, match="another patient"):
        session.beside.choose(nodes[2])


def test_anonymized_patients_who_share_a_number_are_told_apart(headless, head, tmp_path):
    """Slicer's subject hierarchy has one patient for both; the files that its database knows have two names."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(headless.scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "ANON")
    known, nodes = {}, []
    for folder, name in (("T2", "One"), ("FLAIR", "one^"), ("other", "Two")):
        files = write_series(head, tmp_path / folder, name=name, PatientID="ANON")
        uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in files]
        known.update(zip(uids, files))
        nodes.append(addVolumeNode(headless.scene, head, folder))
        nodes[-1].SetAttribute(INSTANCES_ATTRIBUTE, " ".join(uids))
        hierarchy.CreateItem(hierarchy.CreateStudyItem(patient, folder), nodes[-1])
    session = Session(headless.scene)
    try:
        session.sources.instanceFiles = lambda wanted: [known[uid] for uid in wanted if uid in known]
        session.chooseVolume(nodes[2])
        assert session.beside.shown() is None
        session.chooseVolume(nodes[0])
        assert session.beside.shown() is nodes[1]
        with pytest.raises(BadInput, match="another patient"):
            session.beside.choose(nodes[2])
    finally:
        session.close()


def test_linked_views_scroll_and_zoom_together(headless):
    first, second = (headless.scene.AddNewNodeByClass("vtkMRMLSliceNode") for _ in range(2))
    for node, size in ((first, 400), (second, 200)):
        node.SetOrientationToAxial()
        node.SetDimensions(size, size, 1)
        node.SetFieldOfView(200, 200, 1)
    link = LinkedSlices(first, second)
    first.SetSliceOffset(17.5)
    assert second.GetSliceOffset() == 17.5
    assert second.GetFieldOfView()[0] == pytest.approx(100), "the same millimetres per pixel"
    second.SetSliceOffset(-3.0)
    assert first.GetSliceOffset() == -3.0
    link.close()
    first.SetSliceOffset(1.0)
    assert second.GetSliceOffset() == -3.0


def test_a_batch_runs_beside_the_patient_in_front_and_can_be_cancelled(head, tmp_path):
    write_volume(head.with_array(np.full_like(head.array, 5)), tmp_path / "in" / "flat.nrrd")
    changes = []
    batch = Batch(lambda: tmp_path, lambda: changes.append(batch.view))
    try:
        batch.start(tmp_path / "in", tmp_path / "out", _demonstration())
        with pytest.raises(BadInput, match="running"):
            batch.start(tmp_path / "in", tmp_path / "out", _demonstration())
        waitFor(lambda: not batch.view.running, batch.poll, 60)
        assert "1 images analyzed, 1 without a score" in batch.view.text
        assert Path(batch.view.table).is_file()
        batch.start(tmp_path / "in", tmp_path / "out", _demonstration())
        batch.cancel()
        waitFor(lambda: not batch.view.running, batch.poll, 30)
        assert "goes on from here" in batch.view.text
        with pytest.raises(BadInput, match="no folder"):
            batch.start(tmp_path / "absent", tmp_path / "out", _demonstration())
    finally:
        batch.close()


def _demonstration():
    from cnsifusion.bundles import default_bundle_dir

    return default_bundle_dir()


def test_regions_and_maps_lie_over_their_own_image_alone(session, headless, head):
    """Whatever module shows another one; what the reader hid stays hidden."""
    scene, view = headless.scene, headless.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    images = [addVolumeNode(scene, head, name) for name in ("first", "second", "stranger")]
    for image in images[:2]:
        session.chooseVolume(image)
        session.segmentation()
        session.case.heatMap = addVolumeNode(scene, head, f"{image.GetName()} map")
        session.case.logMap = addVolumeNode(scene, head, f"{image.GetName()} LoG map")
    first, second = (CaseState.forVolume(scene, image) for image in images[:2])
    shown = [case.segmentation.GetDisplayNode() for case in (first, second)]

    def over(*pictures) -> tuple:
        keepApart(scene, session.beside.whose(list(pictures)))
        return (*(bool(display.GetVisibility()) for display in shown), view.GetForegroundVolumeID() or "")

    for map_ in (second.logMap, second.heatMap):
        view.SetForegroundVolumeID(map_.GetID())
        assert over(images[0]) == (True, False, "") and over(images[1]) == (False, True, map_.GetID())
    heat = second.heatMap.GetID()
    assert over(images[1]) == over(images[1], second.heatMap) == (False, True, heat)
    assert over(images[0]) == (True, False, "")
    assert over(images[2]) == over(images[0], images[1]) == (False, False, "")
    assert over(images[1]) == (False, True, heat)
    shown[1].SetVisibility(False)
    assert over(images[2]) == (False, False, "")
    view.SetForegroundVolumeID(images[2].GetID())
    assert over(images[1]) == (False, False, images[2].GetID()), "the reader's own choice"
    scene.RemoveNode(images[0])
    shown[0].SetVisibility(True)
    assert over(images[2])[0] is False, "regions outlive their image"


def test_a_map_comes_back_in_the_views_that_the_reader_left_it_in(session, headless, head):
    scene = headless.scene
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(3)]
    image, other = (addVolumeNode(scene, head, name) for name in ("image", "other"))
    session.chooseVolume(image)
    case = session.case
    case.heatMap, case.logMap = (addVolumeNode(scene, head, name) for name in ("heat", "log"))
    log, heat = case.logMap.GetID(), case.heatMap.GetID()

    def shown() -> list[str]:
        return [view.GetForegroundVolumeID() or "" for view in views]

    showMap(case, True)
    assert shown() == [log] * 3, "at first in all views"
    views[1].SetForegroundVolumeID(None)
    views[2].SetForegroundVolumeID(other.GetID())
    showMap(case, True)
    assert shown() == [log, "", other.GetID()]
    case.chosenMap, case.heatMapOpacity = "heatMap", 0.3
    showMap(case, True)
    assert shown() == [heat, "", other.GetID()] and abs(views[0].GetForegroundOpacity() - 0.3) < 1e-6
    for leave, back in (
        (lambda: showMap(case, False), lambda: showMap(case, True)),
        (lambda: keepApart(scene, None), lambda: keepApart(scene, case)),
    ):
        leave()
        assert shown() == ["", "", other.GetID()]
        back()
        assert shown() == [heat, "", other.GetID()]
