"""A result is shown as what it is once its image, its regions, its model or its maps are no longer those of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import vtk
from regioneditor import RegionEditor

from cnsifusion.analysis.result import HeatMap
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.jobs import PROPOSE, Job
from cnsifusion.mrml.panel import panelView
from cnsifusion.mrml.resultview import _maps
from cnsifusion.mrml.segmentation import addSegmentationNode, fingerprint
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.staleness import imageMark, staleness
from cnsifusion.mrml.volumes import voxels

_RESULT = SimpleNamespace(provenance={"bundle_sha256": "this"})
_CARD = SimpleNamespace(sha256="this")


@pytest.fixture
def case(headless, makeVolume):
    """A case as an analysis leaves it."""
    volume = makeVolume()
    case = CaseState.forVolume(headless.scene, volume)
    case.segmentation = addSegmentationNode(headless.scene, volume)
    editor = RegionEditor(headless.scene, case.segmentation, volume)
    assert editor.apply("CSF ventricles", np.ones((2, 3, 3), bool), (1, 1, 1))
    editor.close()
    case.analyzedRegions, case.analyzedImage = fingerprint(case.segmentation), imageMark(volume)
    return case


def test_a_result_of_what_is_shown_is_not_stale_before_the_model_is_read_either(case):
    assert staleness(case, _RESULT, _CARD) == staleness(case, _RESULT, None) == ""


def test_other_voxels_or_another_place_of_the_image(case):
    """Slicer's modules filter and move volumes in place."""
    scalars = case.volume.GetImageData().GetPointData().GetScalars()
    for step, words in ((1, "image changed or moved"), (-1, "")):
        voxels(case.volume)[0, 0, 0] += step
        scalars.Modified()
        assert words in staleness(case, _RESULT, _CARD)
    assert staleness(case, _RESULT, _CARD) == ""
    x, y, z = case.volume.GetOrigin()
    case.volume.SetOrigin(x + 1, y, z)
    assert "image changed or moved" in staleness(case, _RESULT, _CARD)
    case.analyzedImage = ""  # a scene from before it was kept
    assert staleness(case, _RESULT, _CARD) == ""


def test_an_image_under_another_transform(headless, case):
    """Its maps, which stay where they were, lay over other anatomy."""
    linear = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(linear.GetID())
    assert staleness(case, _RESULT, _CARD) == ""  # it moves nothing yet
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 5.0)
    linear.SetMatrixTransformToParent(matrix)
    assert "moved" in staleness(case, _RESULT, _CARD)
    bent = headless.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(bent.GetID())
    assert "moved" in staleness(case, _RESULT, _CARD)
    case.volume.SetAndObserveTransformNodeID(None)
    assert "different transforms" in staleness(case, _RESULT, _CARD)  # the outlines lay over other anatomy
    case.segmentation.SetAndObserveTransformNodeID(None)
    assert staleness(case, _RESULT, _CARD) == ""


def test_another_model(case):
    assert "another model" in staleness(case, _RESULT, SimpleNamespace(sha256="that"))


def test_deleted_regions(case):
    """The panel could not be drawn any more."""
    case.segmentation = None
    assert "regions changed" in staleness(case, _RESULT, _CARD)


def test_a_deleted_map_is_not_offered(case):
    """The other one lay over the image under its name."""
    result = SimpleNamespace(maps=[(k, k, HeatMap(k, 3.0, "")) for k in ("logmap", "heatmap")])
    case.heatMap = case.volume
    assert [row.key for row in _maps(case, result)] == ["heatMap"]


def test_what_is_deleted_is_drawn_at_once(headless, case):
    told = []
    session = Session(headless.scene, onChange=lambda: told.append(1))
    assert told == []
    headless.scene.RemoveNode(case.segmentation)
    assert told
    session.close()


def test_an_image_that_another_module_changes_is_noticed_and_checked_anew(headless, makeVolume):
    """Number and verdict of the former image stood there until something else was clicked."""
    told, volume = [], makeVolume()
    session = Session(headless.scene, onChange=lambda: told.append(1))
    try:
        session.chooseVolume(volume)
        session.poll()
        told.clear()
        first = session.case.check
        session.poll()
        assert told == [], "nothing changed"
        volume.SetSpacing(0.6, 0.7, 9.0)
        session.poll()
        assert told and session.case.check != first
        volume.SetSpacing(0.6, 0.7, 4.0)
        session.poll()
        assert session.case.check == first
        told.clear()
        linear = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        volume.SetAndObserveTransformNodeID(linear.GetID())  # it moves nothing, but its regions are no longer under it
        session.poll()
        assert told and session.case.check == first
    finally:
        session.close()


def test_a_scene_that_brings_another_patient_to_the_front_ends_the_formers_job(headless, makeVolume, tmp_path):
    """Its regions came into the case in front."""
    session = Session(headless.scene)
    try:
        session.chooseVolume(makeVolume())
        job = session.jobs.running = Job(PROPOSE, session.case, tmp_path)
        headless.scene.InvokeEvent(slicer.vtkMRMLScene.EndImportEvent)
        assert not job.cancelled
        CaseState.forVolume(headless.scene, makeVolume(name="of the scene")).activate()
        headless.scene.InvokeEvent(slicer.vtkMRMLScene.EndImportEvent)
        assert job.cancelled
    finally:
        session.close()


def test_a_case_of_a_newer_version_is_said_and_left_alone(headless, makeVolume):
    """The panel could not be drawn any more, and said nothing."""
    CaseState.create(headless.scene, makeVolume()).node.SetParameter("schemaVersion", "99")
    session = Session(headless.scene)
    try:
        headless.scene.InvokeEvent(slicer.vtkMRMLScene.EndImportEvent)
        assert session.case is None
        assert any("newer CNSIFusion" in line.text for line in panelView(session).steps["image"].lines)
        session.chooseVolume(makeVolume(name="another"))
        assert not any("newer" in line.text for line in panelView(session).steps["image"].lines)
    finally:
        session.close()
