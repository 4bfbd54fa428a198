"""The quick helpers of the tools say what scipy's slow ones say."""

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.roi.morphology import holes, padded, small_holes, spread
from cnsifusion.roi.tools.necks import (
    _beyond_horns,
    box_of,
    contained,
    distances,
    opened,
    pieces_at,
    within,
)

SAMPLING = (0.6, 0.45)


@pytest.fixture(params=range(8))
def blobs(request) -> np.ndarray:
    """Random blobs of many sizes, some with holes, some at the rim."""
    noise = np.random.default_rng(request.param).normal(size=(70, 90))
    return ndimage.gaussian_filter(noise, 1 + request.param / 3) > 0


def test_boxes_and_pieces_are_those_of_find_objects(blobs):
    start = np.zeros_like(blobs)
    start[::9, ::7] = True
    labels, touched, boxes = pieces_at(blobs, start)
    assert set(touched) == set(np.unique(labels[start & blobs])) - {0} and len(touched) > 1
    objects = ndimage.find_objects(labels)
    assert boxes == [objects[number - 1] for number in touched]
    rows, columns = box_of(np.zeros_like(blobs))
    assert blobs[rows, columns].size == 0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_masks_spread_and_open_as_scipys(blobs, steps):
    assert np.array_equal(padded(blobs), np.pad(blobs, 1))
    assert np.array_equal(spread(blobs, steps), ndimage.binary_dilation(blobs, iterations=steps))
    wider = padded(blobs)
    assert np.array_equal(opened(wider, steps), ndimage.binary_opening(wider, iterations=steps))


def test_distances_are_scipys_to_the_bit(blobs):
    assert np.array_equal(distances(blobs, SAMPLING), ndimage.distance_transform_edt(blobs, sampling=SAMPLING))


@pytest.mark.parametrize("reach", [0.0, 0.45, 0.9, 1.25, 3.0, 60.0])
def test_within_reach_is_what_the_distances_say(blobs, reach):
    far = blobs & (np.random.default_rng(1).random(blobs.shape) < 0.02)
    for mask in (blobs, far, far[:3], far[:, :2], np.zeros_like(blobs)):
        expected = distances(~mask, SAMPLING) <= reach if mask.any() else mask
        assert np.array_equal(within(mask, reach, SAMPLING), expected)


@pytest.mark.parametrize("farther", range(-8, 9, 2))
def test_long_tails_are_those_with_a_pixel_beyond_a_horns_length(farther):
    core = np.zeros((90, 130), bool)
    core[40:50, 50:60] = True
    tails = np.zeros_like(core)
    tails[44, 61 : 59 + round(14.0 / SAMPLING[1]) + farther] = True  # ends about where a horn does
    tails[52 : 50 + round(14.0 / SAMPLING[0]) - farther, 55] = True
    tails[5:9, 3:9] = True  # surely long
    labels, count = ndimage.label(tails, np.ones((3, 3)))
    away = distances(~core, SAMPLING)
    expected = np.isin(labels, [n for n in range(1, count + 1) if away[labels == n].max() > 14.0])
    assert np.array_equal(_beyond_horns(core, tails, SAMPLING), expected)
    tails[5:9, 3:9] = False
    found = _beyond_horns(core, tails, SAMPLING)
    assert np.array_equal(found if found is not None else np.zeros_like(core), expected & tails)


def test_holes_are_what_filling_adds_and_large_ones_stay_open(blobs):
    filled = ndimage.binary_fill_holes(blobs) & ~blobs
    assert np.array_equal(holes(blobs), filled)
    labels, count = ndimage.label(filled)
    small = [number for number in range(1, count + 1) if (labels == number).sum() <= 12]
    assert np.array_equal(small_holes(blobs, 12), np.isin(labels, small))


def test_a_region_is_cut_only_where_it_leaks_beyond_a_horns_length():
    region = np.zeros((60, 200), bool)
    region[20:40, 5:45] = True
    seeds = np.zeros_like(region)
    seeds[30, 25] = True

    def tailed(millimetres: float) -> np.ndarray:
        whole = region.copy()
        whole[29:31, 45 : 45 + round(millimetres / SAMPLING[1])] = True
        return whole

    def cut(whole: np.ndarray, leaks) -> np.ndarray:
        return contained(whole, seeds, leaks, False, (0.5,), SAMPLING)

    assert np.array_equal(cut(tailed(9), lambda r: False), tailed(9)), "a horn stays"
    assert cut(tailed(50), lambda r: False).sum() < region.sum() + 20, "a leak is cut at its neck"
    assert not cut(tailed(9), lambda r: True).any(), "nothing is left of what runs out when cut"
