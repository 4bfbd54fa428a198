"""Masking, intensity range and overwrite mode in the browser's tools: the same voxels as Slicer's own rules give."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import toolwalk

pytest.importorskip("trame_slicer.core", reason="needs the extra 'web'")

from regioneditor import RegionEditor

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.drawn import segmentMask
from cnsifusion.mrml.editing import Change
from cnsifusion.mrml.limits import ANYWHERE, NOTHING_LEFT, OUTSIDE, OVERWRITE, Limits, places
from cnsifusion.mrml.segmentation import addSegmentationNode, keepPartsHidden, segmentIdOf, showRegions
from cnsifusion.mrml.tools import CSF, OUTLINE
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.names import PVS_LEFT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.web.effect import RegionPipeline

INSIDE_LEFT = f"inside {SUBLENTIFORM_LEFT}"


@pytest.fixture(scope="module")
def machine():
    return toolwalk.Browsers()


@pytest.fixture
def desk(machine):
    """(the browser's machinery with a head opened, its case, the head)"""
    volume, regions = toolwalk.head()
    case = newCase(machine.scene)
    machine.open(case)
    yield machine, case, volume, regions
    machine.close()
    for node in (case.segmentation, case.volume, case.node):
        machine.scene.RemoveNode(node)


def newCase(scene) -> CaseState:
    volume, regions = toolwalk.head()
    node = addVolumeNode(scene, volume, "T2")
    case = CaseState.forVolume(scene, node)
    case.segmentation = addSegmentationNode(scene, node)
    showRegions(regions, case.segmentation, node)
    keepPartsHidden(case.segmentation)  # as both faces do
    return case


def voxels(case) -> dict:
    """The voxels of each segment, by name."""
    node = case.segmentation
    segmentation = node.GetSegmentation()
    return {
        segmentation.GetSegment(segmentId).GetName(): segmentMask(node, segmentId, case.volume).tobytes()
        for segmentId in segmentation.GetSegmentIDs()
    }


def aChange(drawn: np.ndarray, erase: bool) -> Change:
    """Half of the voxels of a box over ventricle, left region and neither, as far as they are not so already."""
    mask = np.random.default_rng(4).random((3, 20, 30)) < 0.5
    box = drawn[2:5, 14:34, 12:42]
    return Change(VENTRICLES, mask & (box if erase else ~box), (2, 14, 12), erase)


@pytest.mark.parametrize(
    ("where", "overwrite", "brightness", "erase"),
    list(itertools.product((ANYWHERE, OUTSIDE, INSIDE_LEFT), OVERWRITE, (None, (140.0, 260.0)), (False, True))),
)
def test_the_browser_changes_what_slicer_would(desk, where, overwrite, brightness, erase):
    machine, case, _, regions = desk
    limits, change = Limits(where, overwrite, brightness), aChange(regions.masks[VENTRICLES], erase)
    machine._tools.setLimits(where=where, overwrite=overwrite)
    if brightness is not None:
        machine._tools.setLimits(brightness=brightness)
    before = toolwalk.snapshot(case)
    machine.controller.commit([change])
    after = voxels(case)
    other = newCase(machine.scene)
    editor = RegionEditor(machine.scene, other.segmentation, other.volume)
    assert limits.applyTo(editor.node, other.segmentation) == ""
    editor.applyAll([change])
    expected = voxels(other)
    editor.close()
    for node in (other.segmentation, other.volume, other.node):
        machine.scene.RemoveNode(node)
    assert after == expected
    if machine.controller.message == NOTHING_LEFT:
        assert toolwalk.snapshot(case) == before
    else:
        assert toolwalk.snapshot(case) != before
    machine.undo()
    assert toolwalk.snapshot(case) == before


def test_only_the_allowed_brightness_and_place_change(desk):
    machine, case, volume, regions = desk
    machine._tools.setLimits(where=INSIDE_LEFT, brightness=(140.0, 160.0))
    machine.controller.commit([Change(VENTRICLES, np.ones(toolwalk.GRID.shape, bool), (0, 0, 0))])
    drawn = segmentMask(case.segmentation, segmentIdOf(case.segmentation, VENTRICLES), case.volume)
    new = drawn & ~regions.masks[VENTRICLES]
    allowed = regions.masks[SUBLENTIFORM_LEFT] & (volume.array >= 140) & (volume.array <= 160)
    assert new.sum() > 20
    assert np.array_equal(new, allowed & ~regions.masks[VENTRICLES])


def test_the_hidden_parts_of_the_ventricles_are_no_other_region(desk):
    machine, case, _, regions = desk
    machine._tools.setLimits(where=OUTSIDE)
    for erase in (True, False):
        machine.controller.commit([Change(VENTRICLES, regions.masks[VENTRICLES][1:2], (1, 0, 0), erase)])
        drawn = segmentMask(case.segmentation, segmentIdOf(case.segmentation, VENTRICLES), case.volume)
        assert np.array_equal(drawn[1], regions.masks[VENTRICLES][1] & (not erase)), machine.controller.message


def test_what_the_limits_forbid_is_a_sentence_and_no_step(desk):
    machine, case, _, _ = desk
    tools, before = machine._tools, toolwalk.snapshot(case)
    tools.setLimits(where=INSIDE_LEFT)
    machine.controller.commit([Change(SUBLENTIFORM_RIGHT, np.ones((1, 4, 4), bool), (1, 4, 4))])
    assert machine.controller.message == NOTHING_LEFT
    assert toolwalk.snapshot(case) == before, "not even an empty segment stays"
    assert not tools.stateForPage()["canUndo"]
    tools.setLimits(where=f"inside {SUBLENTIFORM_RIGHT}")
    machine.controller.commit([Change(PVS_LEFT, np.ones((1, 4, 4), bool), (2, 4, 4))])
    assert "is not drawn" in machine.controller.message
    assert toolwalk.snapshot(case) == before and not tools.stateForPage()["canUndo"]


def test_the_page_is_told_and_another_patient_begins_without_limits(desk):
    machine, case, _, _ = desk
    tools = machine._tools
    shown = tools.stateForPage()["limits"]
    assert shown["places"] == places(case.segmentation) and INSIDE_LEFT in shown["places"]
    low, high = tools.stateForPage()["range"]
    assert shown["brightness"] == (low, high) and shown["text"] == "anywhere, keep others"
    tools.setLimits(where=OUTSIDE, overwrite="cut others", brightness=(100, 200))
    assert tools.stateForPage()["limits"]["text"] == "outside the other regions, cut others, brightness 100 to 200"
    tools.setLimits(brightness=(low, high))
    assert tools.stateForPage()["limits"]["text"] == "outside the other regions, cut others"
    other = newCase(machine.scene)
    tools.setCase(other)
    assert tools.stateForPage()["limits"]["text"] == "anywhere, keep others"
    tools.setCase(case)
    for node in (other.segmentation, other.volume, other.node):
        machine.scene.RemoveNode(node)


def test_what_was_said_is_said_again_after_the_page_forgot_it(desk):
    machine, case, _, _ = desk
    tools, told, air = machine._tools, [], tuple(float(x) for x in toolwalk.GRID.to_lps((1, 1, 2)))
    tools._onChange = lambda: told.append(tools.stateForPage()["hint"])
    case.tool = machine.controller.tool = CSF
    for guarded in (False, True):
        machine.controller.hover(air)
        tools._afterEvent()
        assert "contrast" in told[-1] or "bright" in told[-1], told
        tools.set("leakGuard", guarded)
        assert told[-1] == ""


def test_a_stroke_in_which_the_page_was_loaded_anew_is_over(desk):
    machine, case, _, _ = desk
    tools, controller = machine._tools, machine.controller
    places = [tuple(float(x) for x in toolwalk.GRID.to_lps(place)) for place in ((8, 8, 2), (20, 8, 2), (20, 20, 2))]
    before, case.tool = toolwalk.snapshot(case), OUTLINE
    tools.set("leakGuard", True)
    controller.press(places[0])
    assert controller.stroking
    tools.onPage()
    assert not len(controller.drag(places[1])), "the mouse draws with no button down"
    controller.drag(places[2])
    controller.release()
    assert toolwalk.snapshot(case) == before


def test_why_a_stroke_that_left_the_view_did_nothing_is_said(desk):
    machine, _, _, _ = desk
    controller, pipeline = machine.controller, RegionPipeline()
    pipeline.SetSegmentationEffect(SimpleNamespace(controller=controller, show=lambda svg: None))
    controller.tool = OUTLINE
    controller.press(tuple(float(x) for x in toolwalk.GRID.to_lps((8, 8, 2))))
    pipeline.LoseFocus(None)
    assert not controller.stroking and "three points" in controller.message
