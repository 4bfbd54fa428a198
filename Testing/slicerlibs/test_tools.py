"""The reader's tools on one case, without a face: what each action changes, says and records, as one undo step."""

import numpy as np
import pytest
import toolwalk
import vtk

from cnsifusion.errors import BadInput
from cnsifusion.mrml import panel
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.readings import agreementLines, otherReader
from cnsifusion.mrml.segmentation import addSegmentationNode, regionsFromNode, regionsInfo, showRegions, tagValue
from cnsifusion.mrml.tools import CSF, FILL, MIRROR, MOVE, OUTLINE, PVS, SPLINE
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.agreement import dice
from cnsifusion.roi.names import PVS_LEFT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.region_io import read_regions, write_regions

GRID = toolwalk.GRID


class Desk:
    """A reader with the small head of the random readers: strokes in voxels, masks as whole arrays."""

    def __init__(self, midplane=True):
        self.face = toolwalk.SlicersOwn()
        volume, self.proposal = toolwalk.head()
        if not midplane:
            self.proposal.midplane = None
        node = addVolumeNode(self.face.scene, volume, "T2")
        self.case = CaseState.forVolume(self.face.scene, node)
        self.case.segmentation = addSegmentationNode(self.face.scene, node)
        showRegions(self.proposal, self.case.segmentation, node)
        self.face.open(self.case)
        self.tools = self.face.controller

    def choose(self, tool, name):
        self.tools.tool, self.tools.segmentName = tool, name
        self.tools.forget()

    def mask(self, name):
        return self.tools._fresh(name).on(GRID.shape)

    def stroke(self, *places):
        before = self.face.applied
        lps = [tuple(GRID.to_lps(place)) for place in places]
        self.tools.hover(lps[0])
        self.tools.press(lps[0])
        for each in lps[1:]:
            self.tools.drag(each)
        self.tools.release()
        return self.face.applied - before


@pytest.fixture
def desk():
    return Desk()


def test_mirror_goes_to_the_other_side_in_one_step_and_replaces_it(desk):
    desk.choose(OUTLINE, SUBLENTIFORM_RIGHT)
    assert desk.stroke((6, 8, 2), (12, 8, 2), (12, 14, 2), (6, 14, 2)) == 1
    wrong = desk.mask(SUBLENTIFORM_RIGHT)
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    desk.tools.act(FILL)  # the grid is oblique to the plane: single slices would be thinned by the turn
    desk.tools.act(MIRROR)
    left, right = desk.mask(SUBLENTIFORM_LEFT), desk.mask(SUBLENTIFORM_RIGHT)
    assert not (right & wrong).any()
    plane = desk.proposal.midplane
    assert abs(right.sum() / left.sum() - 1) < 0.2
    for mask, sign in ((left, 1), (right, -1)):
        distances = plane.distance(GRID.to_lps(np.argwhere(mask)[:, ::-1]))
        assert (sign * distances > 3).all()
    desk.face.undo()
    assert (desk.mask(SUBLENTIFORM_RIGHT) == wrong).all()
    desk.face.redo()
    assert (desk.mask(SUBLENTIFORM_RIGHT) == right).all()


def test_mirror_says_why_it_cannot(desk):
    desk.choose(CSF, VENTRICLES)
    desk.tools.act(MIRROR)
    assert "both sides" in desk.tools.message
    desk.choose(MOVE, SUBLENTIFORM_RIGHT)
    desk.tools.act(MIRROR)
    assert "nothing drawn" in desk.tools.message
    unknown = Desk(midplane=False)
    unknown.choose(MOVE, SUBLENTIFORM_LEFT)
    unknown.tools.act(MIRROR)
    assert "propose the regions first" in unknown.tools.message
    assert desk.face.applied == unknown.face.applied == 0


def test_fill_draws_the_missing_slice_alone(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    before = desk.mask(SUBLENTIFORM_LEFT)
    assert np.flatnonzero(before.any(axis=(1, 2))).tolist() == [2, 4]
    desk.tools.act(FILL)
    after = desk.mask(SUBLENTIFORM_LEFT)
    assert (after[[0, 1, 2, 4, 5]] == before[[0, 1, 2, 4, 5]]).all()
    assert dice(after[3], before[2]) > 0.95
    desk.tools.act(FILL)
    assert "no gap" in desk.tools.message and desk.face.applied == 1


def test_reject_empties_the_region_and_the_reason_goes_everywhere(desk, tmp_path):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    desk.tools.reject("lesion in the region")
    read = regionsFromNode(desk.case.segmentation, desk.case.volume)
    assert SUBLENTIFORM_LEFT not in read.masks
    sentence = f"The reader rejected {SUBLENTIFORM_LEFT} (lesion in the region)."
    assert read.withheld[SUBLENTIFORM_LEFT] == sentence
    assert regionsInfo(desk.case.segmentation)[0][SUBLENTIFORM_LEFT] == sentence
    lines = panel._regionLines(desk.case, panel._regionRows(desk.case))
    assert any(line.text == sentence and line.level == "warn" for line in lines)
    rows = {row.name: row.state for row in panel._regionRows(desk.case)}
    assert rows[SUBLENTIFORM_LEFT] == "rejected"
    assert desk.tools.statistics()[0] == sentence, "beside the tools, where the panel's own lines are hidden"
    write_regions(read, tmp_path / "given.seg.nrrd")  # what the child process gets: its result warns
    given = read_regions(tmp_path / "given.seg.nrrd", desk.tools.volume)
    assert given.withheld[SUBLENTIFORM_LEFT] == sentence
    desk.tools.reject("wrong place")
    assert "Nothing of" in desk.tools.message and desk.face.applied == 1
    desk.face.undo()
    assert desk.mask(SUBLENTIFORM_LEFT).any() and sentence not in desk.tools.statistics()
    assert SUBLENTIFORM_LEFT not in regionsFromNode(desk.case.segmentation, desk.case.volume).withheld


def test_drawing_takes_a_rejection_back(desk):
    desk.choose(OUTLINE, SUBLENTIFORM_LEFT)
    desk.tools.reject("wrong place")
    desk.stroke((30, 24, 2), (38, 24, 2), (38, 30, 2), (30, 30, 2))
    desk.tools.erase = True
    desk.stroke((20, 20, 2), (44, 20, 2), (44, 36, 2), (20, 36, 2))
    read = regionsFromNode(desk.case.segmentation, desk.case.volume)
    assert SUBLENTIFORM_LEFT not in read.masks and SUBLENTIFORM_LEFT not in read.withheld


def test_dragging_inside_moves_the_whole_region(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    before = desk.mask(SUBLENTIFORM_LEFT)
    assert desk.stroke((34, 28, 2), (33, 27, 2), (31, 26, 2)) == 1
    assert (desk.mask(SUBLENTIFORM_LEFT) == np.roll(before, (-2, -3), (1, 2))).all()
    assert desk.stroke((31, 26, 2)) == 0, "a click that moves nothing is no step"
    desk.choose(MOVE, SUBLENTIFORM_RIGHT)
    assert desk.stroke((31, 26, 2), (35, 26, 2)) == 0


def test_what_an_undo_in_the_stroke_brought_back_is_what_moves(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    before = desk.mask(SUBLENTIFORM_LEFT)
    desk.stroke((34, 28, 2), (31, 26, 2))
    desk.tools.press(tuple(GRID.to_lps((31, 26, 2))))
    desk.tools.drag(tuple(GRID.to_lps((31, 22, 2))))
    desk.face._editor.undo()  # by Slicer's key: the tools are told only later
    desk.tools.release()
    assert (desk.mask(SUBLENTIFORM_LEFT) == np.roll(before, -4, 1)).all()


def test_dragging_from_outside_turns_or_scales(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    before = desk.mask(SUBLENTIFORM_LEFT)
    assert desk.stroke((42, 28, 4), (44, 28, 4)) == 1  # 8 to 10 voxels from the centre: 1.25 times as large
    after = desk.mask(SUBLENTIFORM_LEFT)
    assert abs(after.sum() / before.sum() - 1.25**2) < 0.15
    desk.face.undo()
    assert desk.stroke((42, 28, 4), (34, 28 + 8 * 1.6 / 1.7, 4)) == 1  # a quarter of a turn
    after = desk.mask(SUBLENTIFORM_LEFT)
    assert abs(after.sum() / before.sum() - 1) < 0.15
    for axis, wide in ((1, 5 * 1.6 / 1.7), (2, 4 * 1.7 / 1.6)):
        assert abs(np.ptp(np.nonzero(after)[axis]) / 2 - wide) <= 1.5


def test_the_move_preview_is_what_letting_go_makes(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    start, end = (tuple(GRID.to_lps(place)) for place in ((40, 34, 2), (43, 30, 2)))
    desk.tools.hover(start)
    desk.tools.press(start)
    shown = desk.tools.drag(end)
    desk.tools.release()
    assert len(shown) > 20 and np.array_equal(shown, desk.tools.hover(end))


def test_a_spline_point_changes_only_what_it_moves_over(desk):
    desk.choose(SPLINE, SUBLENTIFORM_LEFT)
    before = desk.mask(SUBLENTIFORM_LEFT)
    points = desk.tools.hover(tuple(GRID.to_lps((34, 28, 2))))
    assert len(points) > 20
    assert desk.stroke((39.5, 28, 2), (43, 28, 2)) == 1
    after = desk.mask(SUBLENTIFORM_LEFT)
    assert (after[4] == before[4]).all() and (after & ~before).sum() >= 8
    assert after[2, 28, 41]
    assert not (before & ~after)[2, :, :34].any(), "the other side of the outline stays to the pixel"
    hand = desk.tools._hand()
    count = len(hand._points)
    assert desk.stroke((43, 28, 2), (41, 28, 2)) == 1, "the point stays where it was put"
    assert len(hand._points) == count
    desk.tools.erase = True
    desk.tools.forget()
    desk.stroke((41, 28, 2))
    assert len(hand._points) == count - 1
    for _ in range(3):
        desk.face.undo()
    assert (desk.mask(SUBLENTIFORM_LEFT) == before).all()


def test_a_spline_keeps_holes_and_begins_from_three_clicks(desk):
    desk.choose(SPLINE, SUBLENTIFORM_RIGHT)
    places = [(8, 24, 3), (18, 24, 3), (13, 32, 3)]
    said, steps = [], []
    for place in places:
        desk.tools.hover(tuple(GRID.to_lps(place)))
        said.append(desk.tools.message.split("click ")[1])
        steps.append(desk.stroke(place))
    assert said == [f"{words} around the region." for words in ("three points", "two more points", "one more point")]
    assert steps == [0, 0, 1]
    drawn = desk.mask(SUBLENTIFORM_RIGHT)
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [3] and 40 < drawn.sum() < 120
    desk.choose(OUTLINE, SUBLENTIFORM_RIGHT)
    desk.tools.erase = True
    desk.stroke((12, 25, 3), (14, 25, 3), (14, 27, 3), (12, 27, 3))
    hole = drawn & ~desk.mask(SUBLENTIFORM_RIGHT)
    assert hole.any()
    desk.tools.erase = False
    desk.choose(SPLINE, SUBLENTIFORM_RIGHT)
    assert desk.stroke((8, 24, 3), (5, 22, 3)) == 1
    assert not (desk.mask(SUBLENTIFORM_RIGHT) & hole).any()
    desk.tools.erase = True
    desk.tools.forget()
    desk.tools.hover(tuple(GRID.to_lps((8, 24, 1))))
    assert "no point to take away" in desk.tools.message
    assert desk.stroke((8, 24, 1)) == 0 and "no point to take away" in desk.tools.message


def test_erasing_csf_takes_the_lobe_of_what_is_drawn_whatever_the_image_holds(desk):
    desk.choose(OUTLINE, VENTRICLES)
    desk.tools.reject("wrong place")
    for k in (2, 3):  # two patches in tissue
        desk.stroke((8, 26, k), (14, 26, k), (14, 32, k), (8, 32, k))
        desk.stroke((33, 14, k), (42, 14, k), (42, 26, k), (33, 26, k))
    before = desk.mask(VENTRICLES)
    desk.choose(CSF, VENTRICLES)
    assert desk.stroke((11, 29, 2)) == 0, "there is no CSF to grow over"
    desk.tools.erase = True
    desk.tools.forget()
    place = tuple(GRID.to_lps((11, 29, 2)))
    assert len(desk.tools.hover(place)) and (desk.tools.preview.on(GRID.shape) <= before).all()
    assert desk.stroke((11, 29, 2)) == 1
    after = desk.mask(VENTRICLES)
    assert not after[2, :, :20].any() and (after[2, :, 20:] == before[2, :, 20:]).all()
    assert (after[3] == before[3]).all()
    assert desk.stroke((11, 29, 2)) == 0 and "nothing to erase" in desk.tools.message


def test_leak_guard_and_neighbours_are_used(desk):
    desk.choose(CSF, VENTRICLES)
    desk.tools.reject("wrong place")
    desk.tools.neighbours = 1
    assert desk.stroke((18, 20, 3)) == 1
    assert np.flatnonzero(desk.mask(VENTRICLES).any(axis=(1, 2))).tolist() == [2, 3, 4]
    guarded = desk.mask(VENTRICLES)
    desk.face.undo()
    desk.tools.leakGuard = False
    desk.stroke((18, 20, 3))
    assert (desk.mask(VENTRICLES) & guarded).sum() == guarded.sum()


def test_a_click_takes_both_sides_as_one_step_and_only_while_that_is_wanted(desk):
    desk.choose(CSF, VENTRICLES)
    desk.tools.reject("wrong place")
    place = tuple(GRID.to_lps((18, 20, 3)))
    desk.tools.hover(place)
    shown = desk.tools.preview.on(GRID.shape)
    assert shown[3, :, :20].any() and shown[3, :, 27:].any()
    assert desk.stroke((18, 20, 3)) == 1 and (desk.mask(VENTRICLES) == shown).all()
    desk.face.undo()
    assert not desk.mask(VENTRICLES).any()
    desk.tools.bothSides = False
    desk.tools.forget()
    assert desk.stroke((18, 20, 3)) == 1
    one = desk.mask(VENTRICLES)
    assert (one == shown & (np.arange(48) < 24)).all()
    desk.tools.bothSides = True
    desk.choose(CSF, PVS_LEFT)  # a region of one side
    desk.tools.hover(place)
    assert not desk.tools.preview.on(GRID.shape)[:, :, 24:].any()


def test_the_list_of_foci_says_what_a_reader_asks(desk):
    rows = desk.tools.focusRows()
    assert [(row.side, row.slice, row.size) for row in rows] == [("left", 3, "2.0 mm"), ("right", 3, "2.0 mm")]
    assert not any(row.accepted for row in rows)
    assert rows[0].position == pytest.approx(tuple(GRID.to_lps((34, 28, 2))), abs=1e-4)
    desk.choose(PVS, PVS_LEFT)
    assert desk.stroke((34, 28, 2)) == 1
    assert [row.accepted for row in desk.tools.focusRows()] == [True, False]
    assert any("Foci drawn: 1 left, 0 right" in line for line in desk.tools.statistics())


def test_statistics_follow_every_change_and_undo(desk):
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    first = desk.tools.statistics()
    milliliters = desk.mask(SUBLENTIFORM_LEFT).sum() * GRID.voxel_volume / 1000
    assert first[0].startswith(f"{SUBLENTIFORM_LEFT}: {milliliters:.2f} ml on 2 slices")
    assert first[1:] == [f"Left minus right: unknown while {SUBLENTIFORM_RIGHT} is not drawn"]
    desk.tools.act(MIRROR)
    assert any(line.startswith("Left minus right:") for line in desk.tools.statistics())
    desk.tools.act(FILL)
    assert "on 3 slices" in desk.tools.statistics()[0]
    desk.face.undo()
    desk.face.undo()
    assert desk.tools.statistics() == first


def test_agreement_with_another_reader(desk):
    own = regionsFromNode(desk.case.segmentation, desk.case.volume)
    lines = agreementLines(own, own)
    assert any(line.startswith(f"{SUBLENTIFORM_LEFT}: Dice 1.00") for line in lines)
    desk.choose(MOVE, SUBLENTIFORM_LEFT)
    desk.stroke((34, 28, 2), (37, 28, 2))
    lines = agreementLines(own, regionsFromNode(desk.case.segmentation, desk.case.volume))
    line = next(line for line in lines if line.startswith(SUBLENTIFORM_LEFT))
    assert 0.4 < float(line.split("Dice ")[1][:4]) < 0.8 and "(+0 %)" in line


def test_another_readers_regions_of_another_image_are_refused(desk):
    """They would count as not drawn: Dice 0, as if the readers did not agree."""
    node, volume = desk.case.segmentation, desk.case.volume
    assert dice(otherReader(node, volume).masks[VENTRICLES], desk.proposal.masks[VENTRICLES]) == 1
    away = desk.face.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 60.0)
    away.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(away.GetID())
    with pytest.raises(BadInput, match="outside this image"):
        otherReader(node, volume)


def test_why_a_stroke_did_nothing_stays_readable_while_the_mouse_rests(desk):
    desk.choose(OUTLINE, VENTRICLES)
    tools, here = desk.tools, tuple(float(x) for x in GRID.to_lps((10.0, 10.0, 1)))
    tools.press(here)
    tools.release()
    said = tools.message
    assert said
    tools.hover((here[0] + 1.0, *here[1:]))
    assert tools.message == said
    tools.hover((here[0] + 9.0, *here[1:]))
    assert tools.message == ""
    tools.hover(here)
    assert tools.message == "", "once gone it does not come back"


def test_a_tool_makes_segments_with_codes_and_provenance(desk):
    desk.choose(OUTLINE, SUBLENTIFORM_RIGHT)
    desk.stroke((8, 24, 3), (18, 24, 3), (18, 32, 3), (8, 32, 3))
    segmentation = desk.case.segmentation.GetSegmentation()
    segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(SUBLENTIFORM_RIGHT))
    assert tagValue(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert "99CNSIFUSION^SUBLENT" in tagValue(segment, segment.GetTerminologyEntryTagName())
    assert "SCT^24028007^Right" in tagValue(segment, segment.GetTerminologyEntryTagName())
    read = regionsFromNode(desk.case.segmentation, desk.case.volume)
    assert read.origin[SUBLENTIFORM_RIGHT] == "semiautomatic" and SUBLENTIFORM_RIGHT in read.edited


def test_a_view_half_way_between_slices_does_not_break_a_stroke(desk):
    desk.choose(OUTLINE, SUBLENTIFORM_RIGHT)
    corners = ((8, 24, 2.5 - 1e-9), (18, 24, 2.5 + 1e-9), (18, 32, 2.5 + 1e-9), (8, 32, 2.5 - 1e-9))
    assert desk.stroke(*corners) == 1
    drawn = desk.mask(SUBLENTIFORM_RIGHT)
    assert drawn.sum() >= 80 and np.flatnonzero(drawn.any(axis=(1, 2))).tolist() in ([2], [3])
    desk.stroke((8, 24, 4), (18, 24, 4), (18, 32, 5), (8, 32, 4))
    assert not desk.mask(SUBLENTIFORM_RIGHT)[5].any()
