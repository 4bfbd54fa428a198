"""What the network of region B is shown, and that it treats sides, brightness and repeated calls alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.imaging.grid import ALONG_LPS, Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.region_net import BOTH, SIDE, network_input, region_chance, sampled, side_points
from cnsifusion.roi.template import LABELS, load_template

#: Placed as the template is.
STILL = cast(Anatomy, SimpleNamespace(to_patient=lambda points: points))


@pytest.fixture(scope="module")
def head() -> Volume:
    """The template's deep brain as a T2 without noise, 1 mm."""
    template = load_template()
    nuclei = template.labels >= LABELS["putamen_left"]
    array = 150 * template.wm + 215 * template.gm + 400 * template.csf
    return Volume(np.where(nuclei, 145, array).astype(np.float32), template.grid)


def test_sides_are_shown_from_the_middle_outward() -> None:
    left, right = side_points(STILL)
    assert left.shape == right.shape == (*SIDE.shape, 3)
    assert left[0, 0, 0].tolist() == [0, -30, -34] and left[-1, -1, -1].tolist() == [40.5, 28.5, 12.5]
    assert np.array_equal(left * (-1, 1, 1), right)


def test_signal_is_blurred_in_plane_and_held_beyond_the_image() -> None:
    array = np.zeros((5, 21, 21), np.float32)
    array[2, 10, 10] = 1
    volume = Volume(array, Grid((21, 21, 5), (0.6, 0.6, 3.0), (0.0, 0.0, 0.0), ALONG_LPS))
    rows = np.stack([np.full(9, 6.0), 6.0 + 0.6 * np.arange(-4, 5), np.full(9, 6.0)], -1)
    expected = ndimage.gaussian_filter(array, (0, 1, 1))[2, 6:15, 10]
    np.testing.assert_allclose(sampled(volume, rows), expected, rtol=1e-5)
    assert sampled(volume, np.array([[6.0, 6.0, 3.0]]))[0] == 0
    array[4] = 7
    assert sampled(volume.with_array(array), np.array([[-30.0, 6.0, 90.0]]))[0] == pytest.approx(7)


def test_the_network_sees_no_absolute_brightness(head: Volume) -> None:
    images = np.stack([sampled(head, side) for side in side_points(STILL)])
    shown = network_input(images)
    assert shown.shape == (2, 4, *SIDE.shape) and shown[:, 0].max() <= 2.5 and np.median(shown[:, 0]) == 0
    np.testing.assert_allclose(network_input(3 * images), shown, atol=1e-5)


def test_region_b_is_found_under_the_nuclei_of_a_head_of_even_sides(head: Volume) -> None:
    chance = region_chance(head, STILL)
    assert chance.shape == BOTH.shape and np.array_equal(chance, region_chance(head, STILL))
    np.testing.assert_allclose(chance, chance[..., ::-1], atol=1e-3)
    centre = BOTH.to_lps(np.argwhere(chance > 0.5)[:, ::-1])
    centre = centre[centre[:, 0] > 0].mean(0)
    assert np.linalg.norm(centre - (20.6, -1.7, -12.5)) < 4  # where shared/data/README.md has it
    nuclei = load_template().labels >= LABELS["putamen_left"]
    index = load_template().grid.to_kji(BOTH.to_lps(np.argwhere(chance > 0.5)[:, ::-1]))
    assert (
        ndimage.map_coordinates(nuclei.astype(float), index, order=0).mean() < 0.12
    )  # columns of the template's own nuclei would have 0
