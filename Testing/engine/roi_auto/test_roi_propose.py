"""The proposal: right place, right side, partial volume and foci."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from roi_phantom import Proposal
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import names, sublentiform, ventricles
from cnsifusion.roi.anatomy import locate
from cnsifusion.roi.levels import csf_levels
from cnsifusion.roi.propose import propose
from cnsifusion.roi.region_net import region_chance
from cnsifusion.roi.sublentiform import _above_artery, find_sublentiform
from cnsifusion.roi.tools.pvs import visible
from cnsifusion.roi.ventricles import (
    _beside,
    _crumbs,
    _inferior,
    _islands_mostly_in,
    _leave_out,
    _mixed_with,
    _slit,
    _walls,
    find_ventricles,
)

SIDES = {"left": names.SUBLENTIFORM_LEFT, "right": names.SUBLENTIFORM_RIGHT}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("case", ["whole_head", "stripped"])
def test_ventricles(case: str, request: pytest.FixtureRequest) -> None:
    head: Proposal = request.getfixturevalue(case)
    truth = head.phantom.fractions
    parts = head.regions.parts
    assert parts is not None
    lateral = truth["lateral_left"] + truth["lateral_right"] >= 0.5
    assert dice(parts == 1, lateral) > 0.85
    assert abs((parts == 1).sum() / lateral.sum() - 1) < 0.15
    assert dice(parts == 2, truth["third"] >= 0.5) > 0.5
    assert dice(parts == 3, truth["fourth"] >= 0.5) > 0.65
    assert np.array_equal(head.regions.masks[names.VENTRICLES], parts > 0)


def test_the_half_way_level_follows_the_tissue_at_the_wall(whole_head: Proposal) -> None:
    """Tissue brightened by 150 within 5 mm of the ventricles raises the level there, as caudate and thalamus do."""
    phantom, anatomy = whole_head.phantom, whole_head.anatomy
    volume = phantom.volume
    ventricle = phantom.fractions["lateral_left"] + phantom.fractions["lateral_right"] > 0.01
    distance = np.stack([ndimage.distance_transform_edt(~p) if p.any() else p + 99.0 for p in ventricle])
    wall = (distance > 0) & (distance <= 5) & (volume.array > 200) & (volume.array < 500)
    _, before = csf_levels(volume, anatomy)
    _, after = csf_levels(volume.with_array(volume.array + np.float32(150) * wall), anatomy)
    assert 85 < np.median((after - before)[wall & (distance <= 2)]) < 170


def test_csf_level_where_little_is_pure(whole_head: Proposal) -> None:
    """Ventricles that are three fifths CSF but for three slices: those give the level."""
    phantom, anatomy = whole_head.phantom, whole_head.anatomy
    volume = phantom.volume
    fluid, tissue = csf_levels(volume, anatomy)
    lateral = phantom.fractions["lateral_left"] + phantom.fractions["lateral_right"]
    k = int(lateral.sum((1, 2)).argmax())
    mixed = sum(phantom.fractions[part] for part in ("lateral_left", "lateral_right", "third", "fourth")) > 0.01
    mixed[k - 1 : k + 2] = False
    low, _ = csf_levels(volume.with_array(volume.array - 0.4 * (fluid - tissue) * mixed), anatomy)
    assert 0.96 < np.median(low[lateral > 0.5]) / np.median(fluid[lateral > 0.5]) < 1.01


def test_the_half_way_level_follows_the_tissue_in_the_voxel() -> None:
    """Between CSF and choroid plexus (0.3) it is higher than between CSF and white matter (0), in plane and across."""
    share = np.zeros((5, 24, 24), np.float32)
    share[2, :, 12:] = 1.0
    share[1:4, :12, :12] = 0.3
    share[[1, 3], :, 12:] = 1.0
    share[1, 6:, 18:] = 0.0
    grid = Grid((24, 24, 5), (0.6, 0.6, 5.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    level = _mixed_with(share, Volume(share, grid))
    assert level[2, 4, 11] == pytest.approx(0.2) and level[2, 18, 11] == 0
    assert level[2, 12, 22] == 0 and level[2, 2, 22] == pytest.approx(0.35 * 2 / 3)  # tissue under it; CSF all around


def test_a_closed_off_tip_needs_the_horn_under_or_over_it() -> None:
    mask = np.zeros((12, 12), bool)
    mask[2:4, 2:8] = mask[8:10, 2:8] = True
    part = np.zeros_like(mask)
    part[2:4, 2:7] = part[8:10, 2:4] = True
    found = _islands_mostly_in(mask, part, 0.6)
    assert found[2:4, 2:8].all() and not found[8:10].any()


def test_half_bright_voxels_need_csf_beside_above_or_below() -> None:
    strong = np.zeros((5, 21, 21), bool)
    strong[2, 10, 10] = True
    grid = Grid((21, 21, 5), (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    near = _beside(strong, Volume(np.zeros(strong.shape, np.float32), grid))
    assert near[1:4, 9:12, 9:12].all() and not near[[0, 4]].any() and not near[2, 10, 14]


def test_walls_lie_around_over_and_under_pure_csf() -> None:
    fluid = np.zeros((5, 9, 9), bool)
    fluid[2, 4, 4] = True
    flat, whole = _walls(fluid, 2, False), _walls(fluid, 2, True)
    assert flat[2, 4, 2:7].all() and not flat[[0, 1, 3, 4]].any()
    assert whole[1:4, 4, 4].all() and whole[[1, 3]].sum() == 2 and not whole[[0, 4]].any()


@pytest.mark.parametrize(
    ("at", "radius", "gap", "expected"),
    [
        ((27.0, 8.0, -26.0), 3.0, 1, True),
        ((27.0, 8.0, -26.0), 12.0, 1, False),  # a cistern
        ((27.0, 8.0, -26.0), 3.0, 5, False),  # the horn does not come near
        ((27.0, -12.0, -10.0), 3.0, 1, False),  # not where inferior horns are
    ],
)
def test_tip_of_an_inferior_horn(
    at: tuple[float, float, float], radius: float, gap: int, expected: bool, whole_head: Proposal
) -> None:
    """A disc at a template place (LPS mm), with a horn that ends ``gap`` slices above it."""
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    i, j, k = np.rint(volume.grid.to_ijk(anatomy.to_patient(np.array([at])))[0]).astype(int)
    rows, columns = np.indices(volume.grid.shape[1:])
    disc = np.hypot((rows - j) * volume.spacing[1], (columns - i) * volume.spacing[0]) <= radius
    lateral = np.zeros(volume.grid.shape, bool)
    lateral[k + gap] = disc
    bright = lateral.copy()
    bright[k] = disc
    tip = _inferior(volume, anatomy, lateral, bright, np.full(volume.grid.shape, 5.0, np.float32))
    assert np.array_equal(tip[k], disc & expected)


def test_parts_are_the_same_in_their_boxes_and_in_the_whole_head(whole_head: Proposal, monkeypatch) -> None:
    """Where everything is as bright as CSF, the parts go as far as they may."""
    anatomy = whole_head.anatomy
    fluid, tissue = csf_levels(whole_head.phantom.volume, anatomy)
    volume = whole_head.phantom.volume.with_array(fluid)
    boxed = find_ventricles(volume, anatomy, fluid, tissue).parts
    assert set(np.unique(boxed)) == {0, 1, 2, 3}
    everything = tuple(slice(0, n) for n in volume.grid.shape)
    monkeypatch.setattr(ventricles, "_part_box", lambda *_: everything)
    assert np.array_equal(boxed, find_ventricles(volume, anatomy, fluid, tissue).parts)


def test_the_third_ventricle_ends_at_its_roof(whole_head: Proposal) -> None:
    """Where everything is as bright as CSF, only the template's roof parts it from the velum interpositum."""
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    z = anatomy.lattice.spread(anatomy.lattice.points[2])
    fluid, tissue = csf_levels(volume, anatomy)
    third = find_ventricles(volume.with_array(fluid), anatomy, fluid, tissue).parts == 2
    assert (third & (z > 2)).any() and not third[z > 4].any()
    front = anatomy.lattice.spread(anatomy.lattice.points[1]) < 12
    assert (third & front).any() and not (third & front)[z > 2].any()


def test_the_fissure_under_the_frontal_horns_is_left_out(whole_head: Proposal) -> None:
    """Where everything is as bright as CSF, the lateral ventricles end at their floors."""
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    across, z = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in (0, 2))
    fluid, tissue = csf_levels(volume, anatomy)
    lateral = find_ventricles(volume.with_array(fluid), anatomy, fluid, tissue).parts == 1
    middle = lateral & (np.abs(across) < 6)
    assert (middle & (z < 0)).any() and not (middle & (np.abs(across) < 0.5 - z)).any()


def test_crumbs_are_small_and_have_nothing_over_or_under_them() -> None:
    mask = np.zeros((3, 12, 12), bool)
    mask[1, 2:4, 2] = mask[1, 6, 6] = mask[1, 9:11, 8:11] = True  # 0.72, 0.36 and 2.16 mm2
    mask[0, 6, 6] = True
    grid = Grid((12, 12, 3), (0.6, 0.6, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    crumbs = _crumbs(mask, Volume(mask.astype(np.float32), grid))
    assert np.argwhere(crumbs).tolist() == [[1, 2, 2], [1, 3, 2]]


def test_cisterns_over_the_ends_of_the_third_ventricle_are_left_out() -> None:
    """A slit of 16 rows, a cistern of 3 rows over its end, and a ventricle as wide as that and long: 1 mm rows."""
    across = np.abs(np.arange(21.0) - 10)[None, None].repeat(20, 1)
    slit = (across <= 2) & (np.arange(20) >= 4)[None, :, None]
    cistern = (across <= 8) & np.isin(np.arange(20), (1, 2, 3))[None, :, None]
    assert np.array_equal(_slit(slit | cistern, across, 1.0), (slit | cistern) & (across <= 3))
    wide = (across <= 8) & (np.arange(20) >= 4)[None, :, None]
    assert np.array_equal(_slit(wide, across, 1.0), wide)
    assert np.array_equal(_slit(cistern, across, 1.5), cistern)  # 4.5 mm


def with_cavity(head: Proposal, out_mm: float, radius_mm: float) -> Proposal:
    """The head with a ball of CSF ``out_mm`` beside the left wall of its lateral ventricles, proposed anew."""
    volume, anatomy = head.phantom.volume, head.anatomy
    left = head.phantom.fractions["lateral_left"] >= 0.5
    y, z = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in (1, 2))
    walls = volume.grid.to_lps(np.argwhere(left & (y < 0) & (z > 5))[:, ::-1])
    centre = walls[np.argmax(anatomy.midplane.distance(walls))] + out_mm * np.array(anatomy.midplane.normal)
    places = volume.grid.to_lps(np.moveaxis(np.indices(volume.grid.shape)[::-1], 0, -1).astype(float))
    ball = np.linalg.norm(places - centre, axis=-1) <= radius_mm
    fluid, _ = csf_levels(volume, anatomy)
    changed = volume.with_array(np.where(ball, fluid, volume.array).astype(np.float32))
    return Proposal(replace(head.phantom, volume=changed), anatomy, propose(changed, anatomy))


def test_a_cavity_beside_a_horn_is_left_out_and_said(whole_head: Proposal) -> None:
    assert not any("check slice" in note for note in whole_head.regions.notes)
    before = whole_head.regions.parts == 1
    found = with_cavity(whole_head, 5.0, 6.0).regions
    after = found.parts == 1
    added, lost = after & ~before, before & ~after
    cubic_millimetre = whole_head.phantom.volume.grid.voxel_volume
    assert added.sum() * cubic_millimetre < 100 and lost.sum() * cubic_millimetre < 100
    (note,) = (note for note in found.notes if "check slice" in note)
    assert note.startswith("CSF beside the left lateral ventricle was left out as a cavity")
    slices = [int(word) for word in re.findall(r"\d+", note)]
    assert before[slices[0] - 1 : slices[-1]].any()


def test_what_a_cavity_cuts_off_goes_with_it() -> None:
    found = np.zeros((2, 12, 30), bool)
    found[:, 2:8, 2:12] = True  # the horn
    found[:, 2:8, 14:18] = found[0, 10, 10] = True  # the cavity, and an island that it does not touch
    cavity = np.argwhere(found & (np.arange(30) >= 15))
    _leave_out(cavity, found)
    assert not found[:, :, 13:].any() and found[:, 2:8, 2:12].all() and found[0, 10, 10]


def test_a_cavity_that_reaches_less_far_is_only_said(whole_head: Proposal) -> None:
    before = whole_head.regions.parts == 1
    found = with_cavity(whole_head, 2.0, 4.0).regions
    added, lost = ((found.parts == 1) & ~before).sum(), (before & (found.parts != 1)).sum()
    assert added > 30 and lost <= 2  # its sharp wall tells of a little less blur
    (note,) = (note for note in found.notes if "check slice" in note)
    assert note.startswith("The left lateral ventricle reaches farther out than the other one")


def sees_as_before(monkeypatch: pytest.MonkeyPatch, head: Proposal) -> None:
    """What is painted into the head from here on is not seen by the network."""
    chance = region_chance(head.phantom.volume, head.anatomy)
    monkeypatch.setattr(sublentiform, "region_chance", lambda *_: chance)


def left_in(head: Proposal, array: np.ndarray) -> np.ndarray:
    """The left region B where ``array`` is what the head's volume holds."""
    volume = head.phantom.volume.with_array(array)
    return find_sublentiform(volume, head.anatomy, *csf_levels(head.phantom.volume, head.anatomy))[0]["left"]


@pytest.mark.parametrize("share", [1.0, 0.45])
def test_arteries_are_no_part_of_the_sublentiform_region(
    whole_head: Proposal, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """A dark tube beside a cistern, or its edge, is left out with its rim; a dark dot, and a tube in tissue, stay."""
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    sees_as_before(monkeypatch, whole_head)
    whole = whole_head.regions.masks[names.SUBLENTIFORM_LEFT]
    k = int(whole.sum((1, 2)).argmax())
    j, i = np.argwhere(ndimage.binary_erosion(whole[k], iterations=4))[0]
    array = volume.array.copy()
    array[k, j - 1 : j + 2, i - 1 : i + 2] = 0
    dot = np.argwhere(ndimage.binary_erosion(whole[k], iterations=3))[-1]
    array[k, dot[0], dot[1]] = 0
    assert abs(dot - (j, i)).max() > 5
    fluid, tissue = (float(level[k, j, i]) for level in csf_levels(volume, anatomy))
    array[k, j - 1 : j + 2, i + 2 : i + 6] = tissue + 0.25 * (fluid - tissue)
    assert np.array_equal(left_in(whole_head, array), whole)
    array[k, j - 1 : j + 2, i + 2 : i + 6] = tissue + share * (fluid - tissue)
    left = left_in(whole_head, array)
    assert not left[k, j - 2 : j + 3, i - 2 : i + 3].any() and left[k, dot[0], dot[1]]
    assert left[k].sum() == whole[k].sum() - 25


def test_what_lies_under_an_artery_counts_as_its_level(whole_head: Proposal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artery across the region's second slice takes what is under it too: the lowest slice is its wall."""
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    sees_as_before(monkeypatch, whole_head)
    whole = whole_head.regions.masks[names.SUBLENTIFORM_LEFT]
    lowest = int(np.flatnonzero(whole.any((1, 2)))[0])
    k = lowest + 1
    j, i = (round(n) for n in np.argwhere(whole[lowest]).mean(0))
    fluid, _ = csf_levels(volume, anatomy)
    array = volume.array.copy()
    array[k, j - 1 : j + 2, i - 6 : i + 7] = 0
    array[k, j + 2 : j + 4, i - 6 : i + 7] = float(fluid[k, j, i])
    left = left_in(whole_head, array)
    assert whole[lowest].any() and not left[lowest].any() and not left[k].any()
    assert np.array_equal(left[k + 1 :], whole[k + 1 :])


def test_lowest_slices_at_the_level_of_an_artery_are_left_out() -> None:
    region, vessels = np.zeros((2, 6, 10, 10), bool)
    region[1:] = True
    vessels[(1, 2, 4), :4] = True
    vessels[3, 0] = True
    grid = Grid((10, 10, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    volume = Volume(np.zeros(region.shape, np.float32), grid)
    for sliver in (0, 19):  # one under the slices of the artery, without it, is no reason to keep them
        region[0].ravel()[:sliver] = True
        kept = _above_artery(volume, {"left": region}, vessels)["left"]
        assert not kept[:3].any() and np.array_equal(kept[3:], region[3:])
    region[0].ravel()[:30] = True
    assert np.array_equal(_above_artery(volume, {"left": region}, vessels)["left"], region)


def test_less_of_an_artery_is_enough_beside_one_that_takes_the_other_side() -> None:
    left, right, vessels = np.zeros((3, 2, 10, 20), bool)
    left[:, :, :10], right[:, :, 10:] = True, True
    vessels[0, :3] = True  # three tenths of either side
    grid = Grid((20, 10, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    volume = Volume(np.zeros(left.shape, np.float32), grid)
    kept = _above_artery(volume, {"left": left, "right": right}, vessels)
    assert np.array_equal(kept["left"], left) and np.array_equal(kept["right"], right)
    vessels[0, 3:5, :10] = True
    kept = _above_artery(volume, {"left": left, "right": right}, vessels)
    assert not kept["left"][0].any() and not kept["right"][0].any() and kept["left"][1].all(where=left[1])
    vessels[0, :, 10:] = False
    assert np.array_equal(_above_artery(volume, {"left": left, "right": right}, vessels)["right"], right)


@pytest.mark.parametrize("case", ["whole_head", "stripped"])
@pytest.mark.parametrize("side", SIDES)
def test_sublentiform(case: str, side: str, request: pytest.FixtureRequest) -> None:
    head: Proposal = request.getfixturevalue(case)
    mask, truth = head.regions.masks[SIDES[side]], head.phantom.fractions[f"sublentiform_{side}"] >= 0.5
    grid = head.phantom.volume.grid
    centres = [grid.to_lps(np.argwhere(m)[:, ::-1].mean(0)) for m in (mask, truth)]
    assert np.linalg.norm(centres[0] - centres[1]) < 3
    assert dice(mask, truth) > 0.6
    sign = 1 if side == "left" else -1
    distance = head.regions.midplane.distance(grid.to_lps(np.argwhere(mask)[:, ::-1]))
    assert np.all(sign * distance > 4)


def test_foci_on_the_planted_side_only(whole_head: Proposal) -> None:
    matrix = whole_head.phantom.matrix
    planted = np.array([(20.0, -4.0, -11.0), (26.0, 0.0, -9.0)]) @ matrix[:3, :3].T + matrix[:3, 3]
    foci = [f for f in whole_head.regions.foci if f.likely and not f.large]
    for dot in planted:
        assert min(np.linalg.norm(np.array(f.lps) - dot) for f in foci if f.side == "left") < 3
    assert sum(f.side == "right" for f in foci) <= 2
    best = sorted(foci, key=lambda f: -f.confidence)[:2]
    assert all(f.side == "left" and 1.0 <= f.diameter_mm <= 3.0 for f in best)


def test_foci_agree_with_their_masks(whole_head: Proposal) -> None:
    regions = whole_head.regions
    painted = np.zeros(regions.grid.shape, bool)
    for focus in regions.foci:
        assert 0 <= focus.confidence <= 1 and focus.contrast_to_noise > 0
        assert list(focus.ijk[::-1]) in focus.voxels.tolist()
        if focus.likely and not focus.large:
            painted[tuple(focus.voxels.T)] = True
    masks = [regions.masks[n] for n in (names.PVS_LEFT, names.PVS_RIGHT) if n in regions.masks]
    assert np.array_equal(painted, np.logical_or.reduce(masks))


def test_what_is_less_sure_is_listed_for_the_reader(whole_head: Proposal) -> None:
    sure = [f.confidence for f in whole_head.regions.foci]
    assert min(sure) < 0.5 <= max(sure) and len(visible(whole_head.regions.foci, 0.5)) < len(sure)


def test_origin_is_recorded(whole_head: Proposal) -> None:
    assert set(whole_head.regions.origin) == set(whole_head.regions.masks)
    assert set(whole_head.regions.origin.values()) == {"automatic"}
    assert not whole_head.regions.edited


def test_mirrored_head_swaps_sides(whole_head: Proposal) -> None:
    """The mirror image of the head (another head) has its dots on the right: sides come from the geometry."""
    volume = whole_head.phantom.volume
    mirrored = Volume(np.ascontiguousarray(volume.array[:, :, ::-1]), volume.grid)
    foci = sorted(propose(mirrored, locate(mirrored)).foci, key=lambda f: -f.confidence)[:2]
    assert [f.side for f in foci] == ["right", "right"]
