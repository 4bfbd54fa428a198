"""The quick helpers of the tools say what scipy's slow ones say."""

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.roi.morphology import covered, holes, padded, small_holes, spread
from cnsifusion.roi.tools.necks import box_of, contained, distances, moved, opened, pieces_at, seen, within

SAMPLING = (0.6, 0.45)


@pytest.fixture(params=range(8))
def blobs(request) -> np.ndarray:
    """Random blobs of many sizes, some with holes, some at the rim."""
    noise = np.random.default_rng(request.param).normal(size=(70, 90))
    return ndimage.gaussian_filter(noise, 1 + request.param / 3) > 0


@pytest.mark.parametrize("step", [(9, 7), (31, 43), (100, 100)])
def test_pieces_are_the_labelled_ones_that_are_touched(blobs, step):
    start = np.zeros_like(blobs)
    start[2 :: step[0], 3 :: step[1]] = True
    labels, _ = ndimage.label(blobs)
    objects = ndimage.find_objects(labels)
    touched = sorted(set(np.unique(labels[start])) - {0})
    pieces = pieces_at(blobs, start)
    assert [box for box, _ in pieces] == [objects[number - 1] for number in touched]
    for number, (box, piece) in zip(touched, pieces):
        assert np.array_equal(piece, labels[box] == number)
    assert not pieces_at(blobs, np.zeros_like(blobs)) and not pieces_at(np.zeros_like(blobs), start)


def test_a_box_is_moved_and_seen_from_another_one(blobs):
    box = box_of(blobs)
    assert np.array_equal(np.argwhere(blobs).min(axis=0), [span.start for span in box])
    assert np.array_equal(np.argwhere(blobs).max(axis=0) + 1, [span.stop for span in box])
    rows, columns = box_of(np.zeros_like(blobs))
    assert blobs[rows, columns].size == 0
    inner, outer = (slice(8, 20), slice(5, 9)), (slice(3, 40), slice(4, 60))
    assert np.array_equal(blobs[outer][seen(inner, outer)], blobs[inner])
    assert moved(seen(inner, outer), outer) == inner


@pytest.mark.parametrize("halves", [[0], [1], [0, 0, 0], [5, 5, 4, 1], [40, 7, 3, 0], [200, 200]])
def test_a_shape_covers_what_scipys_dilation_says(blobs, halves):
    shape = np.zeros((2 * len(halves) - 1, 2 * halves[0] + 1), bool)
    for row, half in enumerate(halves):
        for line in (len(halves) - 1 - row, len(halves) - 1 + row):
            shape[line, halves[0] - half : halves[0] + half + 1] = True
    dots = blobs & (np.random.default_rng(2).random(blobs.shape) < 0.01)
    for mask in (blobs, dots, dots[:2], dots[:, :3], np.zeros_like(dots)):
        assert np.array_equal(covered(mask, halves), ndimage.binary_dilation(mask, shape))


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


def test_holes_are_what_filling_adds_and_large_ones_stay_open(blobs):
    for part in (blobs[:2], blobs[:, :4], blobs[20:26, 30:40], blobs[:0], blobs):
        filled = ndimage.binary_fill_holes(part) & ~part
        assert np.array_equal(holes(part), filled)
    labels, count = ndimage.label(filled)
    small = [number for number in range(1, count + 1) if (labels == number).sum() <= 12]
    assert np.array_equal(small_holes(blobs, 12), np.isin(labels, small))


def plain(region, seeds, leaks, keep, necks, sampling):
    """The same cuts in the words of their description, with whole maps of distances."""
    inner, seeds = np.pad(region, 1), np.pad(seeds, 1)
    depth = ndimage.distance_transform_edt(inner, sampling=sampling)
    size = np.hypot(*np.multiply(np.subtract(region.shape, 1), sampling))
    if not leaks(region) and size < 14.0:
        return region
    near = ndimage.binary_dilation(seeds, iterations=3) & inner
    for fraction in necks:
        neck = fraction * min(depth[near].max(), 2.5)
        cores, _ = ndimage.label(depth > neck)
        core = np.isin(cores, np.setdiff1d(cores[near], 0))
        away = ndimage.distance_transform_edt(~core, sampling=sampling)
        tails, _ = ndimage.label(inner & (away > neck + max(sampling)), np.ones((3, 3)))
        kept = inner & ~np.isin(tails, np.setdiff1d(tails[away > 14.0], 0))
        pieces, _ = ndimage.label(kept)
        cut = np.isin(pieces, np.setdiff1d(pieces[seeds | core], 0))[1:-1, 1:-1]
        if not leaks(cut):
            return cut
    blob = ndimage.distance_transform_edt(~seeds, sampling=sampling) <= depth[seeds].max() + 2 * max(sampling)
    return (inner & blob)[1:-1, 1:-1] if keep else np.zeros_like(region)


@pytest.mark.parametrize("pixel", [(0.6, 0.45), (0.3, 0.3), (1.1, 0.9), (5.0, 4.0)])
def test_regions_are_cut_as_whole_maps_of_distances_say(blobs, pixel):
    random, cut = np.random.default_rng(3), 0
    labels, count = ndimage.label(blobs)
    edge = np.zeros_like(blobs)
    edge[:12], edge[:, 60:] = True, True
    for number in np.argsort(-np.bincount(labels.ravel(), minlength=count + 1)[1:])[:3] + 1:
        region = labels == number
        for share in (0.002, 0.2):
            seeds = region & (random.random(region.shape) < share)
            seeds.flat[np.flatnonzero(region)[0]] = True
            for shallow, keep in ((edge, True), (edge, False), (edge & ~edge, False)):
                asked = region, seeds, lambda r, s=shallow: (r & s).sum() > 8, keep, (0.5, 0.75, 0.95), pixel
                found = contained(*asked)
                assert np.array_equal(found, plain(*asked))
                cut += not np.array_equal(found, region)
    assert cut, "something is cut"


def test_tails_are_long_from_a_horns_length_on():
    """Also those that end about there, where cells of some pixels cannot tell."""
    seeds, lengths = np.zeros((40, 160), bool), {}
    seeds[20, 20] = True
    for columns in range(24, 48):
        region = np.zeros_like(seeds)
        region[10:30, 10:40], region[19:21, 40 : 40 + columns] = True, True
        asked = region, seeds, lambda r: False, False, (0.5,), SAMPLING
        assert np.array_equal(contained(*asked), plain(*asked))
        lengths[columns] = bool(np.array_equal(contained(*asked), region))
    assert set(lengths.values()) == {False, True}
    assert sorted(lengths.values(), reverse=True) == list(lengths.values()), "shorter ones stay"


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
