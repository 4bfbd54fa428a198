"""A click that takes the other side too: the slice's line of symmetry, what counts as matching, what is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cnsifusion.roi.tools.csf import ALL_SLICES, CsfSettings, grow
from cnsifusion.roi.tools.result import cropped, nothing
from cnsifusion.roi.tools.sides import find_midline

SPACING, PIXEL = (0.6, 0.6, 5.0), (0.6, 0.6)
CENTRE = np.array([104.0, 97.0])


def ellipse(centre, half, degrees=0.0):
    """Pixels of a 200 x 200 slice within an ellipse given in the head's frame, the head turned by ``degrees``."""
    turn = np.radians(degrees)
    y, x = np.mgrid[:200, :200] - CENTRE[:, None, None]
    down, right = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
    return ((down - centre[0]) / half[0]) ** 2 + ((right - centre[1]) / half[1]) ** 2 < 1


def head(degrees=0.0, other=1.0, slices=5, bent=0.0, wide=8):
    """A head with a ventricle (400 on 150) on either side, the second ``other`` times as long and wide.

    Both are ``wide`` pixels in half and moved to the right by ``bent`` pixels.
    """
    plane = 150.0 * ellipse((0, 0), (94, 78), degrees)
    near, far = (
        ellipse((0, bent - 18), (24, wide), degrees),
        ellipse((0, bent + 18), (24 * other, wide * other), degrees),
    )
    plane[near | far] = 400
    smooth = ndimage.gaussian_filter(plane, 0.8) + np.random.default_rng(1).normal(0, 3, plane.shape)
    return np.stack([smooth] * slices).astype(np.float32), near, far


def point(degrees=0.0, down=0.0, right=-18.0):
    """A place of the head's frame as a pixel (j, i)."""
    turn = np.radians(degrees)
    offset = (np.cos(turn) * down + np.sin(turn) * right, -np.sin(turn) * down + np.cos(turn) * right)
    return tuple(round(float(c + o)) for c, o in zip(CENTRE, offset))


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("degrees", [-20, -7, 0, 4, 20])
def test_the_line_of_symmetry_follows_the_turned_head(degrees):
    image, *_ = head(degrees)
    line = find_midline(image[0], PIXEL)
    assert np.degrees(np.arctan2(*line.normal)) == pytest.approx(degrees, abs=1.6)
    assert abs(CENTRE * PIXEL @ np.array(line.normal) - line.offset) < 1.5
    mirrored = line.mirrored(np.array([point(degrees, -10)]), PIXEL)[0]
    assert np.hypot(*(mirrored - point(degrees, -10, 18))) * 0.6 < 2.5


def test_what_is_no_head_has_no_line():
    assert find_midline(np.zeros((100, 100), np.float32), PIXEL) is None
    assert find_midline(np.random.default_rng(0).normal(0, 1, (100, 100)).astype(np.float32), PIXEL) is None
    assert find_midline(np.ones((3, 3), np.float32), PIXEL) is None
    assert find_midline(head()[0][0][:, :97], PIXEL) is None, "half a head"


@pytest.mark.parametrize("degrees", [-15, 0, 20])
def test_a_click_takes_both_sides_on_all_its_slices(degrees):
    image, near, far = head(degrees)
    line, at = find_midline(image[2], PIXEL), (2, *point(degrees))
    alone = grow(image, SPACING, at, CsfSettings()).on(image.shape)
    assert overlap(alone[2], near) > 0.97 and not (alone[2] & far).any()
    both = grow(image, SPACING, at, CsfSettings(neighbours=ALL_SLICES), line).on(image.shape)
    assert all(overlap(plane, near | far) > 0.97 for plane in both)


@pytest.mark.parametrize("other", [0.1, 0.4, 2.0])
def test_what_does_not_match_is_left_out(other):
    image, near, _ = head(other=other)
    found = grow(image, SPACING, (2, *point()), CsfSettings(), find_midline(image[2], PIXEL)).on(image.shape)
    assert overlap(found[2], near) > 0.97


def test_a_somewhat_larger_other_side_is_taken():
    image, near, far = head(other=1.3)
    found = grow(image, SPACING, (2, *point()), CsfSettings(), find_midline(image[2], PIXEL)).on(image.shape)
    assert overlap(found[2], near | far) > 0.95


@pytest.mark.parametrize("bent", [-3, 3])
def test_slender_horns_of_a_bent_head_are_both_taken(bent):
    image, near, far = head(bent=bent, wide=5)
    for at in (point(right=bent - 18), point(right=bent + 18)):
        found = grow(image, SPACING, (2, *at), CsfSettings(), find_midline(image[2], PIXEL)).on(image.shape)
        assert overlap(found[2], near | far) > 0.95


def test_what_is_drawn_on_the_other_side_stays_as_the_reader_left_it():
    image, near, far = head()
    line, corrected = find_midline(image[2], PIXEL), np.zeros(image.shape, bool)
    corrected[2] = far & (np.arange(200) > 110)[:, None]
    for drawn, expected in ((cropped(corrected, (0, 0, 0), ""), near), (nothing(""), near | far)):
        found = grow(image, SPACING, (2, *point()), CsfSettings(), line, drawn).on(image.shape)
        assert overlap(found[2], expected) > 0.97


def test_both_sides_of_a_head_far_from_the_images_corner():
    """A click looks at a window of the image, which does not begin at its first pixel."""
    image, near, far = head()
    margins, at = ((90, 40), (110, 60)), (2, *np.add(point(), (90, 110)))
    wide = np.pad(image, ((0, 0), *margins))
    line = find_midline(wide[2], PIXEL)
    for drawn, expected in ((np.zeros_like(far), near | far), (far, near)):
        corrected = np.zeros(wide.shape, bool)
        corrected[2] = np.pad(drawn & (np.arange(200) > 110)[:, None], margins)
        found = grow(wide, SPACING, at, CsfSettings(), line, cropped(corrected, (0, 0, 0), ""))
        assert overlap(found.on(wide.shape)[2], np.pad(expected, margins)) > 0.97
    (row, column) = line.mirrored(np.array([at[1:]]), PIXEL)[0] - (90, 110)
    assert far[row, column]


def test_csf_in_the_middle_has_no_other_side():
    image, *_ = head()
    third = ellipse((40, 0), (14, 4))
    image[:, third] = 400
    at = (2, *point(0, 40, 0))
    line = find_midline(image[2], PIXEL)
    alone, both = grow(image, SPACING, at), grow(image, SPACING, at, None, line)
    assert alone.origin == both.origin and np.array_equal(alone.mask, both.mask)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_never_raises_and_only_adds(data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 90)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    image = (rng.integers(0, 3, shape) * 100.0).astype(np.float32)
    image += image[:, :, ::-1]  # symmetric, so that there often is another side
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    spacing = data.draw(st.sampled_from([(0.5, 0.5, 4.0), (2.0, 2.0, 2.0), (1.2, 0.9, 6.0)]))
    line = find_midline(image[at[0]], (spacing[1], spacing[0]))
    alone, both = grow(image, spacing, at), grow(image, spacing, at, None, line)
    assert not (alone.on(shape) & ~both.on(shape)).any() and alone.reason == both.reason
