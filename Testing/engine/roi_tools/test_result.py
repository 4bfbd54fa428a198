"""Windows of the tools' answers: the same voxels, wherever they are looked at from."""

import numpy as np
import pytest

from cnsifusion.roi.tools.result import cropped, nothing, united

SHAPE = (5, 9, 8)


def answer(seed, low, high):
    mask = np.zeros(SHAPE, bool)
    window = tuple(slice(a, b) for a, b in zip(low, high))
    mask[window] = np.random.default_rng(seed).random(mask[window].shape) > 0.5
    return mask, cropped(mask, (0, 0, 0), "")


@pytest.mark.parametrize("origin", [(0, 0, 0), (1, 2, 3), (2, 5, 4), (4, 0, 0)])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 2), (9, 9, 9)])
def test_a_window_shows_what_lies_in_it(origin, size):
    mask, found = answer(1, (1, 2, 2), (4, 8, 7))
    padded = np.pad(mask, ((0, 9),) * 3)
    expected = padded[tuple(slice(o, o + n) for o, n in zip(origin, size))]
    assert np.array_equal(found.within(origin, size), expected)
    assert np.array_equal(found.on(SHAPE), mask)


def test_both_masks_in_one_window():
    (one, first), (two, second) = answer(2, (0, 1, 5), (2, 3, 8)), answer(3, (1, 2, 1), (5, 9, 6))
    for a, b in ((first, second), (second, first)):
        assert np.array_equal(united(a, b).on(SHAPE), one | two)
    none = nothing("Nothing here.")
    assert united(none, first) is first and united(first, none) is first and united(none, none).reason == none.reason
