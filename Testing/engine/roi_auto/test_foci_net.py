"""What the network of the PVS-like foci is shown, and that it treats sides, brightness and repeated calls alike."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.imaging.grid import ALONG_LPS, Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.foci_net import SIZE, STEP_MM, confidences, network_input

_TISSUE, _CSF, _NOISE = 200.0, 240.0, 3.0
_MIDDLE = SIZE // 2


def _volume(pixel: float = 0.5) -> Volume:
    rng = np.random.default_rng(4)
    array = _TISSUE + rng.normal(0, _NOISE, (4, 90, 90))
    j, i = np.indices((90, 90)) * pixel
    for y, x in ((22.0, 15.0), (25.0, 27.0)):
        array[2] += 0.8 * _CSF * (np.hypot(j - y, i - x) < 0.9)
    return Volume(array.astype(np.float32), Grid((90, 90, 4), (pixel, pixel, 4.0), (0.0, 0.0, 0.0), ALONG_LPS))


def _input(volume: Volume, peaks: list[tuple[int, int, int]], mirrored: bool = False) -> np.ndarray:
    places = np.array(peaks)
    return network_input(volume, places, np.full(len(peaks), 1.8), _NOISE, _TISSUE, _CSF, mirrored)


def test_a_blob_lies_in_the_middle_with_the_slices_below_and_above() -> None:
    volume = _volume(STEP_MM)
    image = _input(volume, [(2, 55, 38), (1, 55, 38)])
    assert image.shape == (2, 7, SIZE, SIZE)
    window = (slice(55 - _MIDDLE, 56 + _MIDDLE), slice(38 - _MIDDLE, 39 + _MIDDLE))
    shown = (volume.array[1:4][(slice(None), *window)] - _TISSUE) / _CSF
    np.testing.assert_allclose(image[0, :3], shown, atol=1e-4)
    np.testing.assert_allclose(image[1, 2], image[0, 1], atol=1e-6)


def test_beyond_the_image_the_last_slice_and_the_rim_go_on() -> None:
    image = _input(_volume(), [(0, 0, 0), (3, 89, 89)])
    assert np.array_equal(image[0, 0], image[0, 1]) and np.array_equal(image[1, 1], image[1, 2])
    assert np.ptp(image[0, 1, :_MIDDLE, :_MIDDLE]) == 0 and np.isfinite(image).all()


def test_the_right_side_is_shown_as_the_left() -> None:
    volume = _volume(STEP_MM)
    mirror = volume.with_array(np.ascontiguousarray(volume.array[:, :, ::-1]))
    left, right = _input(volume, [(2, 55, 38)]), _input(mirror, [(2, 55, 89 - 38)], mirrored=True)
    np.testing.assert_allclose(left, right, atol=1e-4)


def test_only_contrast_to_tissue_is_seen() -> None:
    volume, peaks = _volume(), np.array([(2, 44, 30), (2, 50, 54), (1, 40, 40)])
    brighter = volume.with_array((3 * volume.array + 50).astype(np.float32))
    sure = confidences(volume, peaks, np.full(3, 1.8), _NOISE, _TISSUE, _CSF, False)
    assert np.array_equal(sure, confidences(volume, peaks, np.full(3, 1.8), _NOISE, _TISSUE, _CSF, False))
    again = confidences(brighter, peaks, np.full(3, 1.8), 3 * _NOISE, 3 * _TISSUE + 50, 3 * _CSF, False)
    np.testing.assert_allclose(sure, again, atol=1e-3)
    alone = [confidences(volume, peaks[n : n + 1], np.full(1, 1.8), _NOISE, _TISSUE, _CSF, False) for n in range(3)]
    np.testing.assert_allclose(sure, np.concatenate(alone), atol=0.05)  # each on another raster of half a step


def test_bright_spaces_are_sure_and_tissue_is_not() -> None:
    sure = confidences(
        _volume(), np.array([(2, 44, 30), (2, 50, 54), (1, 40, 40)]), np.full(3, 1.8), _NOISE, _TISSUE, _CSF, False
    )
    assert sure[:2].min() > 0.9 and sure[2] < 0.05


@pytest.mark.parametrize("mirrored", [False, True])
def test_no_blobs_need_no_network(mirrored: bool) -> None:
    none = np.zeros((0, 3), int)
    assert confidences(_volume(), none, np.zeros(0), _NOISE, _TISSUE, _CSF, mirrored).shape == (0,)
