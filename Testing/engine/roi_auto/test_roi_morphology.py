"""Fast mask operations give what scipy's general filters give, and parts of a volume what the whole gives."""

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import morphology
from cnsifusion.roi.lattice import make_lattice
from cnsifusion.roi.warp import Warp

_PLANE = ndimage.generate_binary_structure(2, 1)[None]


@pytest.fixture(params=[0.0, 0.05, 0.4, 0.9, 1.0])
def mask(request):
    return np.random.default_rng(3).random((6, 17, 13)) < request.param


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_growing_and_shrinking_are_dilation_and_erosion(mask, steps):
    assert (morphology.grown(mask, steps) == ndimage.binary_dilation(mask, _PLANE, iterations=steps)).all()
    assert (morphology.shrunk(mask, steps) == ndimage.binary_erosion(mask, _PLANE, iterations=steps)).all()


@pytest.mark.parametrize("reach", [(1, 1), (3, 2), (20, 5)])
def test_windows_are_rank_filters(mask, reach):
    size = (1, 2 * reach[0] + 1, 2 * reach[1] + 1)
    numbers = np.random.default_rng(4).random(mask.shape, np.float32)
    assert (morphology.windowed(numbers, reach, np.minimum, np.inf) == ndimage.minimum_filter(numbers, size)).all()
    volume = Volume(numbers, Grid(mask.shape[::-1], (0.5, 0.4, 3.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    wide = ndimage.binary_dilation(mask, np.ones((1, 5, 5)))
    assert (morphology.boxed(mask, 0.9, volume) == wide).all()


def test_filling_and_connecting(mask):
    assert (morphology.filled(mask) == np.stack([ndimage.binary_fill_holes(plane) for plane in mask])).all()
    seeds = np.zeros_like(mask)
    seeds[2, 3:9, 4:7] = True
    expected = ndimage.binary_propagation(seeds & mask, mask=mask)
    assert (morphology.connected(mask, seeds) == expected).all()


def test_bounds_hold_the_mask_and_widen_to_the_edge():
    mask = np.zeros((5, 6, 7), bool)
    assert morphology.bounds(mask) == (slice(0, 0),) * 3
    mask[1:3, 2, 4:6] = True
    box = morphology.bounds(mask)
    assert box == (slice(1, 3), slice(2, 3), slice(4, 6))
    assert morphology.widened(box, (2, 1, 1), mask.shape) == (slice(0, 5), slice(1, 4), slice(3, 7))


def test_a_lattice_gives_a_part_the_same_bits_as_the_whole():
    grid = Grid((43, 37, 9), (0.7, 0.6, 3.0), (-10.0, -12.0, 4.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    warp = Warp(np.zeros((3, 2, 2, 2), np.float32), Grid((2, 2, 2), (4.0, 4.0, 4.0), (0, 0, 0), grid.direction))
    lattice = make_lattice(grid, np.eye(4), warp)
    values = np.random.default_rng(5).random(lattice.points.shape[1:], np.float32)
    whole = lattice.spread(values)
    assert np.allclose(whole[8, 36, 42], values[-1, -1, -1]) and np.allclose(whole[0, 0, 0], values[0, 0, 0])
    box = (slice(1, 6), slice(7, 30), slice(0, 41))
    assert (lattice.spread(values, box) == whole[box]).all()
    spot = np.zeros_like(values)
    spot[2, 4:6, 3] = 1
    near = lattice.around(spot > 0)
    assert all(part.stop - part.start < n for part, n in zip(near, grid.shape))
    reached = lattice.spread(spot) > 0
    assert reached.any() and reached.sum() == reached[near].sum()
