"""The blur of a picture is read from its walls, and what is undone brings thin horns back to their width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from roi_phantom import Proposal
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.sharpness import sharpened, wall_blur

_AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_PIXELS = (((40, 30, 1), (0.5, 1.0, 4.0)), ((30, 40, 1), (1.0, 0.5, 4.0)))


@pytest.fixture(scope="module")
def upright(whole_head: Proposal) -> np.ndarray:
    """The share of CSF of a head whose ventricles have upright walls only: each voxel full or empty."""
    fractions = whole_head.phantom.fractions
    return (fractions["lateral_left"] + fractions["lateral_right"] > 0.5).astype(np.float32)


@pytest.mark.parametrize("blur", [0.0, 0.8, 1.2])
def test_the_blur_is_read_from_the_walls(blur: float, upright: np.ndarray, whole_head: Proposal) -> None:
    volume = whole_head.phantom.volume
    pixels = [blur / volume.spacing[axis] for axis in (1, 0)]
    share, lesion = ndimage.gaussian_filter(upright, (0, *pixels)), np.zeros(upright.shape, bool)
    assert wall_blur(share, volume, whole_head.anatomy, lesion) == pytest.approx(0.8 * blur, abs=0.15)
    assert wall_blur(share, volume, whole_head.anatomy, ~lesion) == 0


def test_no_walls_show_no_blur(upright: np.ndarray, whole_head: Proposal) -> None:
    for share in (np.zeros_like(upright), np.full_like(upright, 0.5)):
        assert wall_blur(share, whole_head.phantom.volume, whole_head.anatomy, np.zeros(upright.shape, bool)) == 0


def test_sharpening_undoes_blur_and_keeps_what_is_even(upright: np.ndarray, whole_head: Proposal) -> None:
    volume = whole_head.phantom.volume
    blurred = ndimage.gaussian_filter(upright, (0, 1.0, 1.0))
    sharp = sharpened(blurred, 1.0, volume)
    true = upright > 0.5
    lost, kept_lost = ((true & (picture <= 0.5)).sum() for picture in (blurred, sharp))
    assert lost > 0.02 * true.sum() and kept_lost < 0.6 * lost
    assert sharp.mean() == pytest.approx(blurred.mean(), rel=1e-3)
    assert sharpened(blurred, 0.0, volume) is blurred
    even = np.full((1, 31, 47), 3.0, np.float32)
    assert np.allclose(sharpened(even, 1.0, volume), 3, atol=1e-4)


def test_each_direction_of_the_plane_has_its_own_pixel() -> None:
    """Rows twice as far apart as columns: the same picture turned, with its pixels turned, comes out turned."""
    picture = np.random.default_rng(1).random((1, 30, 40)).astype(np.float32)
    turned = picture.transpose(0, 2, 1)
    flat, tall = (Grid(size, spacing, (0.0, 0.0, 0.0), _AXES) for size, spacing in _PIXELS)
    one, other = sharpened(picture, 0.8, Volume(picture, flat)), sharpened(turned, 0.8, Volume(turned, tall))
    assert np.allclose(one, other.transpose(0, 2, 1), atol=1e-4)
    wrong = sharpened(turned, 0.8, Volume(turned, replace(tall, spacing=flat.spacing)))
    assert not np.allclose(one, wrong.transpose(0, 2, 1), atol=1e-2)
