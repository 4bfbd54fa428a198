"""PVS-like foci: small, faint, long and large ones, and what lies in a cistern."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.foci import find_foci
from cnsifusion.roi.regions import Focus, Plane

_TISSUE, _CSF, _NOISE, _PIXEL = 200.0, 240.0, 3.0, 0.5
#: The region lies from 10 to 30 mm to its left.
_MIDDLE = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))


def _found(plane: np.ndarray, thickness: float = 4.0, k: int = 1, artery: np.ndarray | None = None) -> list[Focus]:
    """Foci of three slices of noisy tissue, the middle one with a region: ``plane`` (0-1) is CSF's share in slice k.

    ``artery`` (bool) is one of a cistern, with its rim, in the middle slice.
    """
    array = _TISSUE + np.random.default_rng(8).normal(0, _NOISE, (3, 80, 80))
    array[k] += _CSF * plane
    volume = Volume(
        array.astype(np.float32), Grid((80, 80, 3), (_PIXEL, _PIXEL, thickness), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    )
    region = np.zeros(array.shape, bool)
    region[1, 20:60, 20:60] = True
    arteries = np.zeros(array.shape, bool)
    if artery is not None:
        arteries[1] = artery
    return find_foci(volume, np.ones(array.shape, bool), {"left": region}, arteries, _MIDDLE, _CSF)


def _capsule(width: float, length: float, angle: float, middle: tuple[float, float] = (20.0, 20.0)) -> np.ndarray:
    """Share (0-1) of every voxel in a tube of ``width`` whose axis is ``length`` (mm) long, in the slice's plane."""
    fine = (np.arange(400) + 0.5) * _PIXEL / 5
    y, x = fine[:, None] - middle[0], fine - middle[1]
    along = np.clip(y * np.sin(angle) + x * np.cos(angle), -length / 2, length / 2)
    inside = np.hypot(y - along * np.sin(angle), x - along * np.cos(angle)) <= width / 2
    return inside.reshape(80, 5, 80, 5).mean((1, 3))


def test_tissue_has_none() -> None:
    assert _found(np.zeros((80, 80))) == []


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2])
@pytest.mark.parametrize(("width", "length"), [(1.0, 8.0), (2.0, 9.0), (3.0, 0.0), (3.0, 5.0)])
def test_a_tube_is_one_focus_as_wide_as_it_is_thick(width: float, length: float, angle: float) -> None:
    (focus,) = _found(0.6 * _capsule(width, length, angle))
    assert not focus.large and abs(focus.diameter_mm - width) <= 0.5
    reach = np.linalg.norm(focus.voxels[:, 1:] * _PIXEL - 20, axis=1).max()
    assert abs(reach - (length + width) / 2) <= 1.0
    assert np.linalg.norm(np.array(focus.lps[:2]) - 19.75) <= 0.75


@pytest.mark.parametrize("angle", [0.0, 0.8])
def test_wider_than_three_millimetres_is_large(angle: float) -> None:
    (focus,) = _found(_capsule(4.0, 2.0, angle))
    assert focus.large


def test_a_ball_in_a_thick_slice_may_be_faint() -> None:
    """Of a ball of 1.5 mm, a slice of 5 mm keeps less than a third; what is as faint in a slice of 1 mm is no CSF."""
    ball = 0.18 * _capsule(1.5, 0.0, 0.0)
    assert len(_found(ball, 5.0)) == 1
    assert _found(ball, 1.0) == []


@pytest.mark.parametrize(("width", "length", "thickness"), [(2.5, 0.0, 2.0), (2.0, 7.0, 5.0)])
def test_what_is_faint_for_its_width_is_flat(width: float, length: float, thickness: float) -> None:
    """A space is as thick as it is wide: of a wide one, averaging along the slice leaves more."""
    spot = _capsule(width, length, 0.4)
    assert _found(0.25 * spot, thickness) == []
    assert len(_found(0.5 * spot, thickness)) == 1


def test_beside_an_artery_is_csf_of_its_cistern() -> None:
    tube, artery = 0.6 * _capsule(1.5, 6.0, 0.0), np.zeros((80, 80), bool)
    artery[:38] = True  # ends at its edge
    assert len(_found(tube, artery=artery)) == 1
    artery[:40] = True
    assert _found(tube, artery=artery) == []


def test_in_a_cisterns_roof_a_spot_must_stand_out_by_as_much_more() -> None:
    roof = np.zeros((80, 80))
    roof[30:50, 30:50] = 0.15
    dot = _capsule(1.5, 0.0, 0.0) > 0.5
    assert len(_found(np.where(dot, 0.2, 0.0))) == 1
    assert _found(np.where(dot, 0.35, roof)) == []
    assert len(_found(np.where(dot, 0.6, roof))) == 1


def test_beside_what_lies_above_the_region_less_is_searched() -> None:
    near, far = (_capsule(1.5, 0.0, 0.0, (20.0, 10.0 - beside)) for beside in (2.0, 3.0))
    assert [len(_found(far, k=k)) for k in range(3)] == [0, 1, 0]
    assert [len(_found(near, k=k)) for k in range(3)] == [0, 1, 1]


def test_where_the_nucleus_goes_on_laterally_only_what_is_sure_is_taken() -> None:
    """Up to 7 mm beside the region and what lies above it, away from the middle: bright spaces, no faint ones."""

    def found(share: float, x: float, y: float = 20.0) -> list[int]:
        return [len(_found(share * _capsule(1.5, 0.0, 0.0, (y, x)), k=k)) for k in range(3)]

    assert found(0.8, 35.0) == found(0.8, 25.0, 34.0) == [0, 1, 1]
    assert found(0.15, 35.0) == found(0.15, 25.0, 34.0) == [0, 0, 0]
    assert found(0.15, 25.0) == [0, 1, 1]
    assert found(0.8, 5.0) == found(0.8, 15.0, 34.0) == found(0.8, 38.5) == [0, 0, 0]


def test_a_long_or_faint_spot_as_bright_as_tissue_is_no_csf() -> None:
    """In a nucleus dark with iron or in white matter, a strip or a faint spot may be grey matter; a dot is a space."""
    dark = np.zeros((80, 80))
    dark[28:52, 28:52] = -0.2
    dot, strip = _capsule(1.5, 0.0, 0.0) > 0.5, _capsule(1.5, 6.0, 0.3) > 0.5
    assert len(_found(np.where(dot, 0.08, dark))) == 1
    assert _found(np.where(strip, 0.08, dark)) == []
    assert len(_found(np.where(strip, 0.25, dark))) == 1
    assert _found(np.where(dot, 0.08, dark / 2)) == []


def test_spots_in_a_cistern_and_fissures_that_lead_out_are_left_out() -> None:
    cistern = np.zeros((80, 80))
    cistern[25:55, 34:46] = 0.6
    assert _found(np.maximum(cistern, _capsule(1.5, 0.0, 0.0))) == []
    leading_out = _capsule(1.2, 9.0, 0.0, (20.0, 5.5))  # most of it lies beyond the border of the zone
    assert _found(leading_out) == []
    assert len(_found(_capsule(1.2, 9.0, 0.0, (20.0, 11.0)))) == 1
