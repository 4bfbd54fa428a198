"""Arteries and CSF of the cisterns, told from what belongs to the brain above them."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.cisterns import arteries, cisterns, islands

_TISSUE, _CSF = 100.0, 300.0
#: mm along j and i (half a millimetre each pixel) of a cistern of 6 by 40 mm in the middle of the slice.
_CISTERN = (20, 26, 5, 45)


def _slice(*patches: tuple[float, tuple[float, float, float, float]]) -> Volume:
    """A slice of tissue with a cistern and rectangles of other signal: (signal, (j from, to, i from, to) in mm)."""
    array = np.full((1, 100, 100), _TISSUE, np.float32)
    for signal, place in ((_CSF, _CISTERN), *patches):
        j0, j1, i0, i1 = (int(2 * mm) for mm in place)
        array[0, j0:j1, i0:i1] = signal
    return Volume(array, Grid((100, 100, 1), (0.5, 0.5, 4.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))


def _found(volume: Volume) -> np.ndarray:
    region = np.zeros(volume.array.shape, bool)
    region[0, 24:80, 20:80] = True
    return arteries(volume, volume.array > (_TISSUE + _CSF) / 2, region)[0]


@pytest.mark.parametrize("turned", [False, True])
def test_an_artery_half_in_the_slice_is_found_whole_and_with_its_rim(turned: bool) -> None:
    volume = _slice((65, (26, 28, 15, 35)), (40, (26, 28, 20, 22)))  # a middle without signal, the rest half of it
    if turned:
        volume = volume.with_array(np.ascontiguousarray(volume.array.transpose(0, 2, 1)))
    found = _found(volume)
    expected = np.zeros((100, 100), bool)
    expected[50:58, 28:72] = True  # 1 mm around
    assert np.array_equal(found, expected.T if turned else expected)


@pytest.mark.parametrize(
    "patch",
    [
        (65, (26, 28, 15, 35)),  # a fold of grey matter: nowhere dark enough
        (20, (31, 33, 20, 22)),  # a perforating artery in the brain, away from the cistern
        (40, (26, 34, 15, 35)),  # a wide dark structure: iron in a nucleus, no artery
        (_TISSUE, (22, 24, 10, 40)),  # a strip of tissue between CSF, dark only beside that
    ],
)
def test_what_is_no_artery_of_a_cistern_is_left_alone(patch: tuple) -> None:
    assert not _found(_slice(patch)).any()


@pytest.mark.parametrize("seed", range(3))
def test_noise_makes_no_artery_of_a_nucleus_with_iron(seed: int) -> None:
    volume = _slice((60, (26, 40, 10, 40)))
    noise = np.random.default_rng(seed).normal(0, _TISSUE / 6, volume.array.shape)
    assert not _found(volume.with_array((volume.array + noise).astype(np.float32))).any()


def test_a_dark_vessel_beside_a_perivascular_space_is_left_alone() -> None:
    space, vessel = (_CSF, (31, 33.5, 20, 22.5)), (20.0, (31, 33.5, 22.5, 24.5))
    assert not _found(_slice(space, vessel)).any()
    larger = (_CSF, (31, 35, 18, 22.5))
    assert _found(_slice(larger, vessel)).any()


def test_nothing_is_looked_for_without_a_region() -> None:
    volume = _slice((20, (26, 28, 15, 35)))
    nothing = np.zeros(volume.array.shape, bool)
    assert not arteries(volume, volume.array > 200, nothing).any()


def test_only_large_islands_of_csf_are_cisterns() -> None:
    volume = _slice((_CSF, (31, 35, 20, 24)))
    found = cisterns(volume, volume.array > 200)[0]
    assert found[42, 20] and not found[64, 42]


def test_islands_are_kept_by_their_size_and_by_their_share_of_the_slice() -> None:
    mask = np.zeros((2, 20, 60), bool)
    mask[0, 2:12, 2:12], mask[0, 2:10, 20:30], mask[0, 2:6, 40:45], mask[1, 2:6, 40:45] = True, True, True, True
    volume = Volume(mask.astype(np.float32), Grid((60, 20, 2), (1, 1, 4), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    assert np.array_equal(islands(volume, mask, 19.0), mask)
    assert islands(volume, mask, 20.0).sum((1, 2)).tolist() == [180, 0]
    assert islands(volume, mask, 19.0, 0.4).sum((1, 2)).tolist() == [180, 20]  # alone in its slice it stays
    assert islands(volume, mask, 19.0, 0.8).sum((1, 2)).tolist() == [180, 20]
    assert islands(volume, mask, 19.0, 0.81).sum((1, 2)).tolist() == [100, 20]
