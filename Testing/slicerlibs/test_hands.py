"""What the mouse does with each tool, on images whose answer is known: no face, Slicer's own undo."""

from dataclasses import replace

import numpy as np
import pytest
import toolwalk
from scipy import ndimage

from cnsifusion.imaging import Grid, Volume
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.readings import agreementLines, statisticsLines
from cnsifusion.mrml.segmentation import addSegmentationNode, regionsFromNode, showRegions
from cnsifusion.mrml.tools import CSF, FILL, MOVE, OUTLINE, PVS
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.agreement import dice
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SEGMENTS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.regions import Focus, Plane, RegionSet
from cnsifusion.roi.tools.result import ToolResult

GRID = Grid((160, 140, 5), (0.8, 0.8, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
SIGMA, DOT = 4.0, (34, 90)  # noise; where (j, i) a dot of 18 lies on the left of slice 1
LEFT, RIGHT, LEAKY = (70, 96, 3), (70, 64, 3), (70, 96, 2)  # voxels (j, i, k) in the ventricles


class Head:
    """A head (150) with two ventricles (400) on slices 1-3, the left one open to a sulcus on slice 2, and two dots."""

    def __init__(self):
        j, i = np.mgrid[:140, :160]
        plane = 150.0 * (np.hypot((j - 70) / 66, (i - 80) / 76) < 1)
        array = np.stack([plane] * 5)
        self.left = np.hypot((j - 70) / 18, (i - 96) / 7) < 1
        self.right = np.hypot((j - 70) / 18, (i - 64) / 7) < 1
        self.sulcus = (abs(j - 70) < 3) & (i > 102) & (i < 153)
        array[1:4, self.left | self.right] = 400
        array[2, self.sulcus] = 400
        array = ndimage.gaussian_filter(array, (0, 0.6, 0.6))
        array += np.random.default_rng(2).normal(0, SIGMA, array.shape)
        self.focus = np.array([(1, 40, 120), (1, 40, 121), (1, 41, 120), (2, 40, 120)])
        foci = []
        for side, voxels in (("left", self.focus), ("right", (0, 0, 159) + self.focus * (1, 1, -1))):
            array[tuple(voxels.T)] = 300
            k, j, i = (int(v) for v in voxels[0])
            foci.append(Focus(side, (i, j, k), tuple(GRID.to_lps((i, j, k))), 1.8, 5.0, 0.7, False, voxels))
        array[1, DOT[0] : DOT[0] + 2, DOT[1] : DOT[1] + 2] = 150 + 18
        proposal = RegionSet(GRID, midplane=Plane(tuple(GRID.to_lps((79.5, 70, 2))), (1.0, 0.0, 0.0)), foci=foci)
        proposal.masks = {PVS_LEFT: np.zeros(GRID.shape, bool)}
        self.face = toolwalk.SlicersOwn()
        node = addVolumeNode(self.face.scene, Volume(array.astype(np.float32), GRID), "T2")
        self.case = CaseState.forVolume(self.face.scene, node)
        self.case.segmentation = addSegmentationNode(self.face.scene, node)
        showRegions(proposal, self.case.segmentation, node)
        self.face.open(self.case)
        self.tools = self.face.controller
        self.tools.bothSides = False

    def choose(self, tool, name, **settings):
        self.tools.tool, self.tools.segmentName = tool, name
        for key, value in settings.items():
            setattr(self.tools, key, value)
        self.tools.forget()

    def mask(self, name):
        return self.tools._fresh(name).on(GRID.shape)

    def hover(self, j, i, k):
        """The preview as a whole array."""
        self.tools.hover(lps(j, i, k))
        return self.tools.preview.on(GRID.shape)

    def stroke(self, *places):
        """Press, drag and let go; returns the number of undo steps."""
        before = self.face.applied
        self.hover(*places[0])
        self.tools.press(lps(*places[0]))
        for each in places[1:]:
            self.tools.drag(lps(*each))
        self.tools.release()
        return self.face.applied - before


def lps(j, i, k):
    return tuple(float(x) for x in GRID.to_lps((i, j, k)))


@pytest.fixture
def head():
    return Head()


def test_a_drag_grows_along_the_stroke_as_one_step(head):
    head.choose(CSF, VENTRICLES)
    single = [head.hover(*place) for place in (LEFT, RIGHT)]
    assert dice(single[0][3], head.left) > 0.9 and not (single[0] & single[1]).any()
    assert head.stroke(LEFT, (70, 80, 3), RIGHT) == 1
    assert (head.mask(VENTRICLES) == single[0] | single[1]).all()
    head.face.undo()
    assert not head.mask(VENTRICLES).any()


def test_the_leak_guard_is_the_readers_to_switch(head):
    head.choose(CSF, VENTRICLES)
    assert (head.hover(*LEAKY)[2] & head.sulcus).sum() < 0.2 * head.sulcus.sum()
    head.choose(CSF, VENTRICLES, leakGuard=False)
    assert (head.hover(*LEAKY)[2] & head.sulcus).sum() > 0.9 * head.sulcus.sum()


def test_the_wheel_moves_the_tolerance_and_with_it_what_a_click_takes(head):
    head.choose(CSF, VENTRICLES)
    middle = head.hover(*RIGHT)
    head.tools.turn(5)
    assert head.tools.tolerance == pytest.approx(0.75) and head.tools.sensitivity == 0.5
    more = head.hover(*RIGHT)
    assert (middle <= more).all() and more.sum() > middle.sum()
    head.tools.turn(-99)
    assert head.tools.tolerance == 0.05
    assert head.hover(*RIGHT).sum() < middle.sum()


def test_the_wheel_does_not_end_a_stroke(head):
    head.choose(CSF, VENTRICLES)
    wanted = head.hover(*RIGHT)
    head.tools.press(lps(*RIGHT))
    assert head.tools.stroking
    head.tools.turn(3)
    head.tools.release()
    assert (head.mask(VENTRICLES) == wanted).all() and wanted.any()
    assert head.tools.tolerance == 0.5 and not head.tools.stroking


def test_hovering_shows_this_slice_and_a_click_takes_its_neighbours_too(head):
    head.choose(CSF, VENTRICLES, neighbours=1)
    shown = head.hover(*RIGHT)
    assert np.flatnonzero(shown.any(axis=(1, 2))).tolist() == [3]
    head.stroke(RIGHT)
    drawn = head.mask(VENTRICLES)
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [2, 3] and (drawn[3] == shown[3]).all()


def test_a_candidate_is_highlighted_accepted_and_rejected(head):
    head.choose(PVS, PVS_RIGHT)  # a candidate knows its side
    candidate = np.zeros(GRID.shape, bool)
    candidate[tuple(head.focus.T)] = True
    adding = head.tools.color()
    assert (head.hover(41, 121, 1) == candidate).all() and head.tools.color() == adding == SEGMENTS[PVS_RIGHT].color
    assert head.stroke((41, 121, 1)) == 1
    assert (head.mask(PVS_LEFT) == candidate).all() and not head.mask(PVS_RIGHT).any()
    assert (head.hover(41, 121, 1) == candidate).all() and head.tools.color() != adding, "a click would take it away"
    assert head.stroke((41, 121, 1)) == 1 and not head.mask(PVS_LEFT).any()
    head.face.undo()
    assert (head.mask(PVS_LEFT) == candidate).all()
    assert head.stroke((40, 39, 1)) == 1 and (head.mask(PVS_RIGHT) == candidate[:, :, ::-1]).all()
    assert head.hover(110, 60, 1).sum() == 0 and "stands out" in head.tools.message


def test_the_sensitivity_decides_what_is_listed_and_what_is_found(head):
    head.choose(PVS, PVS_LEFT)
    assert [row.side for row in head.tools.focusRows()] == ["left", "right"]
    head.tools.turn(-6)
    assert head.tools.sensitivity == pytest.approx(0.2) and head.tools.tolerance == 0.5
    assert head.tools.focusRows() == [], "confidence 0.7 is not enough now"
    assert not head.hover(*DOT, 1).any()
    head.tools.turn(16)
    assert head.tools.sensitivity == 1.0 and len(head.tools.focusRows()) == 2
    assert 2 <= head.hover(*DOT, 1).sum() <= 8


def test_a_dot_of_its_own_goes_to_the_side_it_lies_on(head):
    head.choose(PVS, PVS_LEFT, sensitivity=0.05)  # no candidate of the list is shown
    assert head.stroke((40, 120, 1)) == 1
    assert head.mask(PVS_LEFT)[1, 40, 120] and not head.mask(PVS_RIGHT).any()
    head.face.undo()
    head.tools._details = replace(head.tools._proposal(), midplane=Plane(lps(70, 140, 2), (1.0, 0.0, 0.0)))
    assert head.stroke((40, 120, 1)) == 1
    assert head.mask(PVS_RIGHT)[1, 40, 120] and not head.mask(PVS_LEFT).any()


def test_erasing_with_an_outline_takes_its_inside_away(head):
    head.choose(OUTLINE, SUBLENTIFORM_LEFT)
    square = [(60, 100, 2), (60, 120, 2), (80, 120, 2), (80, 100, 2)]
    assert head.stroke(*square) == 1
    adding, whole = head.tools.color(), head.mask(SUBLENTIFORM_LEFT)
    head.choose(OUTLINE, SUBLENTIFORM_LEFT, erase=True)
    assert head.tools.color() != adding
    assert head.stroke((60, 90, 2), (60, 110, 2), (80, 110, 2), (80, 90, 2)) == 1
    rest = head.mask(SUBLENTIFORM_LEFT)
    assert (rest <= whole).all() and not rest[2, :, :109].any() and rest[2, 70, 115]
    head.choose(MOVE, SUBLENTIFORM_LEFT)
    assert head.tools.color() == adding, "moving erases nothing"


def test_figures_are_those_of_the_voxels(head):
    for name, columns in ((SUBLENTIFORM_LEFT, (100, 120)), (SUBLENTIFORM_RIGHT, (40, 50))):
        head.choose(OUTLINE, name)
        for k, lower in ((1, 30), (3, 40)):
            corners = [(20, columns[0], k), (20, columns[1], k), (lower, columns[1], k), (lower, columns[0], k)]
            head.stroke(*corners)
    head.tools.act(FILL)
    left, right = head.mask(SUBLENTIFORM_LEFT), head.mask(SUBLENTIFORM_RIGHT)
    values, voxel = head.tools.volume.array, 0.8 * 0.8 * 5
    head.choose(MOVE, SUBLENTIFORM_LEFT)
    of, difference = head.tools.statistics()
    area, inside = left.sum(axis=(1, 2)).max() * 0.64, values[left]
    assert of == (
        f"Sub-lentiform left: {left.sum() * voxel / 1000:.2f} ml on 2 slices, largest area {area:.0f} mm²,"
        f" signal {inside.mean():.1f} ± {inside.std():.1f}"
    )
    cubic, signal = (left.sum() - right.sum()) * voxel, inside.mean() - values[right].mean()
    assert cubic > 100 and difference.startswith(f"Left minus right: {cubic:+.0f} mm³, signal ")
    assert float(difference.split()[-1]) == pytest.approx(signal, abs=2e-3) and abs(signal) > 0.05


def test_agreement_gives_dice_volumes_and_icc(head):
    head.choose(CSF, VENTRICLES, neighbours=1)
    head.stroke(RIGHT)
    own = regionsFromNode(head.case.segmentation, head.case.volume)
    mask = own.masks[VENTRICLES].copy()
    mask[3] = False
    other = replace(own, masks={VENTRICLES: mask})
    (line,) = (line for line in agreementLines(own, other) if line.startswith(VENTRICLES))
    volumes = [m.sum() * GRID.voxel_volume / 1000 for m in (own.masks[VENTRICLES], mask)]
    assert f"Dice {dice(own.masks[VENTRICLES], mask):.2f}, {volumes[0]:.2f} and {volumes[1]:.2f} ml (" in line
    assert ", ICC of slice areas " in line


@pytest.mark.parametrize(
    ("unit", "signal"), [(1, "152.0 ± 2.0"), (1e-6, "0.0001520 ± 0.0000020"), (1e4, "1520000 ± 20000")]
)
def test_the_signal_has_four_figures_in_any_unit(unit, signal):
    volume = Volume(np.float32([[[150 * unit, 154 * unit]]]), GRID.resized((2, 1, 1), GRID.spacing))
    (line,) = statisticsLines(volume, VENTRICLES, lambda _: ToolResult(np.ones((1, 1, 2), bool), (0, 0, 0)))
    assert line.endswith(f"signal {signal}")
