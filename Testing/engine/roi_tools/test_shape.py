"""Polygons, moving, mirroring, interpolation and their bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnsifusion.roi.regions import Plane
from cnsifusion.roi.tools.result import cropped, nothing
from cnsifusion.roi.tools.shape import (
    Motion,
    control_points,
    interpolate,
    mirror,
    outline,
    polygon,
    spline_points,
    transform,
)

from .test_region_io import oblique_grid

SPACING = (0.5, 1.0, 4.0)


def drawn(mask):
    """A whole mask as tools see it: the window around it."""
    return cropped(mask, (0, 0, 0), "")


def moved_by(mask, **motion):
    return transform(drawn(mask), SPACING, mask.shape, Motion(**motion))


def ellipse(shape, j, i, b, a):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((x - i) / a) ** 2 + ((y - j) / b) ** 2 <= 1


def test_polygon_takes_the_pixels_whose_centres_lie_inside():
    found = polygon([(1.5, 0.5), (4.5, 0.5), (4.5, 2.5), (1.5, 2.5)], 1, (3, 6, 8)).on((3, 6, 8))
    assert np.argwhere(found).tolist() == [[1, j, i] for j in (1, 2) for i in (2, 3, 4)]
    beyond = polygon([(-9, -9), (99, -9), (99, 99), (-9, 99)], 0, (1, 6, 8)).on((1, 6, 8))
    assert beyond.all()


@pytest.mark.parametrize(
    "points", [[], [(1, 1)], [(1, 1), (2, 2)], [(1, 1), (1, 1), (1, 1)], [(50, 50), (60, 50), (60, 60)],
               [(1.2, 1.2), (1.4, 1.2), (1.3, 1.4)], [(np.nan, 1), (2, 2), (3, 1)]])  # fmt: skip
def test_polygons_without_pixels_give_a_reason(points):
    result = polygon(points, 0, (1, 6, 8))
    assert result.empty and result.reason.endswith(".")


def test_closed_spline_passes_its_points_and_is_round():
    angles = np.arange(8) / 8 * 2 * np.pi
    corners = np.stack([20 + 10 * np.cos(angles), 20 + 10 * np.sin(angles)], axis=1)
    curve = spline_points(corners)
    assert np.abs(np.hypot(*(curve - 20).T) - 10).max() < 0.1
    assert all(np.hypot(*(curve - c).T).min() < 1e-9 for c in corners)
    area = polygon(corners, 0, (1, 41, 41), spline=True).mask.sum()
    assert abs(area - np.pi * 100) < 12 < abs(polygon(corners, 0, (1, 41, 41)).mask.sum() - np.pi * 100)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outline_and_polygon_are_inverse(seed):
    mask = np.random.default_rng(seed).random((9, 11)) > 0.4
    back = np.zeros((1, 9, 11), bool)
    for line in outline(mask, tolerance=0):
        back ^= polygon(line, 0, back.shape).on(back.shape)
    np.testing.assert_array_equal(back[0], mask)


def test_simplified_outline_stays_close():
    mask = ellipse((60, 80), 30, 40, 15, 25)
    (line,) = outline(mask)
    assert len(line) < 60
    assert (polygon(line, 0, (1, 60, 80)).on((1, 60, 80))[0] ^ mask).sum() < 0.03 * mask.sum()


def test_transform_moves_scales_and_turns_in_millimetres():
    mask = np.zeros((3, 60, 100), bool)
    mask[1] = ellipse((60, 100), 30, 50, 6, 20)  # 6 mm by 10 mm half axes
    moved = moved_by(mask, shift_mm=(5.0, -3.0)).on(mask.shape)
    np.testing.assert_array_equal(moved, np.roll(mask, (-3, 10), (1, 2)))
    np.testing.assert_array_equal(moved_by(mask).on(mask.shape), mask)
    larger = moved_by(mask, scale=1.5).mask.sum()
    assert abs(larger / mask.sum() - 2.25) < 0.1
    turned = moved_by(mask, degrees=90).on(mask.shape)
    _, rows, columns = np.nonzero(turned)
    assert abs(np.ptp(rows) * 1.0 - 20) <= 1 and abs(np.ptp(columns) * 0.5 - 12) <= 1
    assert abs(turned.sum() / mask.sum() - 1) < 0.05
    clockwise = moved_by(mask, degrees=30).on(mask.shape)  # from i towards j: the right end goes down
    _, rows, columns = np.nonzero(clockwise)
    assert np.corrcoef(rows, columns)[0, 1] > 0.3
    assert moved_by(mask, shift_mm=(500, 0)).reason and moved_by(mask, scale=0.01).reason
    assert transform(nothing(""), SPACING, mask.shape, Motion()).reason


def test_a_whole_region_moves_about_one_centre_and_one_slice_of_it_alike():
    mask = np.zeros((4, 60, 100), bool)
    mask[1], mask[2] = ellipse((60, 100), 25, 40, 6, 12), ellipse((60, 100), 35, 60, 4, 9)
    motion = Motion((3.0, 2.0), 1.2, 25.0)
    whole = transform(drawn(mask), SPACING, mask.shape, motion).on(mask.shape)
    for k in (1, 2):
        alone = transform(drawn(mask), SPACING, mask.shape, motion, slices=[k]).on(mask.shape)
        np.testing.assert_array_equal(alone[k], whole[k])
        assert not alone[[n for n in range(4) if n != k]].any()
    assert transform(drawn(mask), SPACING, mask.shape, Motion(), slices=[0]).empty


def test_what_leaves_the_image_is_cut_and_what_stays_is_exact():
    mask = np.zeros((1, 40, 40), bool)
    mask[0, 15:25, 2:12] = True
    moved = moved_by(mask, shift_mm=(-2.5, 0.0)).on(mask.shape)  # five pixels to the left, three of them outside
    assert np.argwhere(moved.any(axis=(0, 1))).ravel().tolist() == list(range(7))


def test_control_points_follow_the_largest_piece():
    mask = ellipse((60, 80), 30, 40, 15, 25)
    mask[2:5, 2:5] = True
    points = control_points(mask)
    assert 4 <= len(points) <= 20
    spline = polygon(points, 0, (1, 60, 80), spline=True).on((1, 60, 80))[0]
    mask[2:5, 2:5] = False
    assert 2 * (spline & mask).sum() / (spline.sum() + mask.sum()) > 0.95
    assert control_points(np.zeros((5, 5), bool)).shape == (0, 2)
    assert len(control_points(np.eye(3, dtype=bool))) >= 4


def test_mirror_lands_on_the_other_side_and_back():
    grid = oblique_grid((80, 60, 12))
    centre = grid.to_lps(np.array([40.0, 30.0, 6.0]))
    normal = np.array([0.98, 0.15, 0.1]) / np.linalg.norm([0.98, 0.15, 0.1])
    plane = Plane(tuple(centre), tuple(normal))
    mask = np.zeros(grid.shape, bool)
    mask[5:8] = ellipse((60, 80), 30, 56, 8, 6)
    other = mirror(drawn(mask), grid, plane).on(grid.shape)
    assert abs(other.sum() / mask.sum() - 1) < 0.15
    for a, b in ((mask, other), (other, mask)):
        middle = grid.to_lps(np.argwhere(a)[:, ::-1]).mean(axis=0)
        image = grid.to_lps(np.argwhere(b)[:, ::-1]).mean(axis=0)
        assert plane.distance(middle) * plane.distance(image) < 0
        assert np.linalg.norm(middle - 2 * plane.distance(middle) * normal - image) < 0.3 * grid.spacing[2]
    back = mirror(drawn(other), grid, plane).on(grid.shape)
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.85  # two passes over 4.4 mm slices


def test_interpolation_fills_only_gaps_and_follows_a_slant():
    mask = np.zeros((9, 60, 60), bool)
    mask[2], mask[6] = ellipse((60, 60), 20, 15, 4, 5), ellipse((60, 60), 40, 45, 8, 9)
    filled = interpolate(drawn(mask), SPACING).on(mask.shape)
    assert np.flatnonzero(filled.any(axis=(1, 2))).tolist() == [3, 4, 5]
    expected = ellipse((60, 60), 30, 30, 6, 7)
    assert 2 * (filled[4] & expected).sum() / (filled[4].sum() + expected.sum()) > 0.95
    assert interpolate(drawn(mask & (np.arange(9) == 2)[:, None, None]), SPACING).reason
    assert interpolate(nothing(""), SPACING).reason
