"""The CSF tool on phantoms whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cnsifusion.roi.tools import csf
from cnsifusion.roi.tools.csf import ALL_SLICES, CsfSettings, grow, lobe
from cnsifusion.roi.tools.result import cropped

SPACING = (0.6, 0.6, 5.0)


def phantom(noise=3.0, gain=1.0, offset=0.0, sulcus_pixels=4):
    """A head (tissue 150) with two ventricles (400) on slices 3-6, one joined to a sulcus that reaches the surface."""
    fine = np.zeros((10, 200, 200), np.float32)
    y, x = np.mgrid[:200, :200]
    fine[:, (x - 100) ** 2 + (y - 100) ** 2 < 95**2] = 150
    left, right = np.zeros(fine.shape, bool), np.zeros(fine.shape, bool)
    for k in range(3, 7):
        left[k] = ((x - 80) / 9) ** 2 + ((y - 100) / 24) ** 2 < 1
        right[k] = ((x - 120) / 9) ** 2 + ((y - 100) / 24) ** 2 < 1
    sulcus = np.zeros(fine.shape, bool)
    sulcus[4, 98 : 98 + sulcus_pixels, 125:192] = True  # 0.6 mm a pixel, from the ventricle to the surface
    fine[left | right | sulcus] = 400
    smooth = ndimage.gaussian_filter(fine, (0, 0.8, 0.8)) + np.random.default_rng(0).normal(0, noise, fine.shape)
    return (gain * smooth + offset).astype(np.float32), left, right, sulcus & ~right


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1e-3, 0), (1e4, 0), (1, 50)])
def test_one_click_takes_the_ventricle_of_the_slice_in_any_units(gain, offset):
    image, left, _, _ = phantom(gain=gain, offset=offset)
    found = grow(image, SPACING, (5, 100, 80)).on(image.shape)
    assert overlap(found[5], left[5]) > 0.97
    assert not found[[0, 1, 2, 3, 4, 6, 7, 8, 9]].any()


@pytest.mark.parametrize("pixels", [4, 6])  # the wider one is no neck: only its way to the surface tells
def test_leak_guard_keeps_out_of_the_sulcus_and_without_it_the_sulcus_is_taken(pixels):
    image, _, right, sulcus = phantom(sulcus_pixels=pixels)
    guarded = grow(image, SPACING, (4, 100, 120)).on(image.shape)
    assert overlap(guarded[4], right[4]) > 0.95
    assert (guarded & sulcus).sum() < 0.15 * sulcus.sum()
    leaking = grow(image, SPACING, (4, 100, 120), CsfSettings(leak_guard=False)).on(image.shape)
    assert (leaking & sulcus).sum() > 0.9 * sulcus.sum()


def test_neighbours_carry_the_region_to_the_slices_it_is_on():
    image, left, right, _ = phantom()
    found = grow(image, SPACING, (5, 100, 80), CsfSettings(neighbours=1)).on(image.shape)
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [4, 5, 6]
    everywhere = grow(image, SPACING, (5, 100, 80), CsfSettings(neighbours=ALL_SLICES)).on(image.shape)
    assert overlap(everywhere, left) > 0.97 and not (everywhere & right).any()


def test_higher_tolerance_only_adds():
    image, *_ = phantom(noise=0)
    sizes = [grow(image, SPACING, (5, 100, 80), CsfSettings(tolerance=t)).mask.sum() for t in (0.2, 0.4, 0.6, 0.8)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_lobe_takes_a_piece_off():
    image, left, right, _ = phantom()
    joined = left | right
    joined[5, 98:102, 80:120] = True  # a bridge of 2.4 mm
    piece = lobe(cropped(joined, (0, 0, 0), ""), SPACING, (5, 100, 80)).on(image.shape)
    assert (piece[5] & left[5]).sum() > 0.95 * left[5].sum() and (piece[5] & right[5]).sum() < 0.1 * right[5].sum()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("click", [(4, 100, 120), (5, 100, 120), (4, 100, 127)])
def test_rows_and_columns_of_different_size_are_not_confused(axis, click):
    """Every row, or column, twice and half as wide: the same head, so the same region."""

    def twice(array):
        return array.repeat(2, axis)

    image, left, right, _ = phantom(sulcus_pixels=6)
    rules, spacing, point = CsfSettings(neighbours=ALL_SLICES), list(SPACING), list(click)
    spacing[2 - axis], point[axis] = 0.3, 2 * click[axis]
    found = grow(image, SPACING, click, rules).on(image.shape)
    assert overlap(twice(found), grow(twice(image), spacing, point, rules).on(twice(image).shape)) > 0.98
    joined = left | right
    joined[4:6, 98:102, 80:120] = True
    at = (click[0], 100, 80)
    piece = lobe(cropped(joined, (0, 0, 0), ""), SPACING, at).on(image.shape)
    at = (*at[:axis], 2 * at[axis], *at[axis + 1 :])
    fine = lobe(cropped(twice(joined), (0, 0, 0), ""), spacing, at).on(twice(image).shape)
    assert overlap(twice(piece), fine) > 0.98


@pytest.mark.parametrize("point", [(5, 20, 100), (-1, 3, 3), (5, 100, 500), (0, 0, 0)])
def test_tissue_air_and_outside_give_a_reason(point):
    image, *_ = phantom()
    result = grow(image, SPACING, point)
    assert result.empty and result.reason.endswith(".")
    assert not grow(image, SPACING, (5, 100, 80)).reason


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_never_raises_and_always_holds_the_click(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30)))
    seed = data.draw(st.integers(0, 2**32 - 1))
    kind = data.draw(st.sampled_from(["noise", "flat", "steps", "negative"]))
    rng = np.random.default_rng(seed)
    image = {
        "noise": rng.normal(0, 1, shape), "flat": np.full(shape, 7.0), "negative": rng.normal(-500, 50, shape),
        "steps": rng.integers(0, 3, shape) * 100.0,
    }[kind].astype(np.float32)  # fmt: skip
    point = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    tolerance, reach = data.draw(st.floats(0, 1)), data.draw(st.sampled_from([0, 1, ALL_SLICES]))
    result = grow(image, (0.7, 0.5, 4.0), point, CsfSettings(tolerance=tolerance, neighbours=reach))
    if result.empty:
        assert result.reason
    else:
        k, j, i = point
        assert result.on(shape)[k, max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2].any()


@pytest.mark.parametrize("seed", range(12))
def test_what_continues_the_slice_before_is_told_as_by_the_labels_of_its_regions(seed):
    random, told = np.random.default_rng(seed), set()
    before = ndimage.gaussian_filter(random.normal(size=(90, 110)), 3) > 0.02
    labels, _ = ndimage.label(before)
    now, _ = ndimage.label(ndimage.gaussian_filter(random.normal(size=before.shape), 2 + seed / 3) > 0)
    for number, box in enumerate(ndimage.find_objects(now), start=1):
        region = now[box] == number
        over = labels[box][region]
        carried = sum((labels == n).sum() for n in set(over.tolist()) - {0})
        for rules in (csf._GROWING, csf._ERASING):
            limit = rules.growth_large if region.sum() * 0.4 * 0.5 > 150 else rules.growth
            lies, area = (over > 0).sum(), region.sum()
            expected = bool(lies and lies >= rules.overlap * area and area <= limit * carried)
            assert csf._continues(region, box, before, rules, (0.4, 0.5)) == expected
            told.add(expected)
    assert told == {False, True}


@pytest.mark.parametrize("size", [1, 2, 3, 40, 41])
def test_the_median_is_numpys(size):
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    assert csf._median(values) == float(np.median(values))
