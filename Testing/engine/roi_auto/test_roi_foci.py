"""PVS-like foci: small, faint, long and large ones, and what lies in a cistern."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import foci
from cnsifusion.roi.foci import find_foci
from cnsifusion.roi.regions import Focus, Plane

_TISSUE, _CSF, _NOISE, _PIXEL = 200.0, 240.0, 3.0, 0.5
#: The region lies from 10 to 30 mm to its left.
_MIDDLE = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))


def _found(
    plane: np.ndarray, thickness: float = 4.0, k: int | slice = 1, artery: np.ndarray | None = None
) -> list[Focus]:
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


def test_beside_an_artery_is_csf_of_its_cistern() -> None:
    tube, artery = 0.6 * _capsule(1.5, 6.0, 0.0), np.zeros((80, 80), bool)
    artery[:38] = True  # ends at its edge
    assert len(_found(tube, artery=artery)) == 1
    artery[:40] = True
    assert _found(tube, artery=artery) == []


def test_beside_what_lies_above_the_region_less_is_searched() -> None:
    near, far = (_capsule(1.5, 0.0, 0.0, (20.0, 10.0 - beside)) for beside in (2.0, 3.0))
    assert [len(_found(far, k=k)) for k in range(3)] == [0, 1, 0]
    assert [len(_found(near, k=k)) for k in range(3)] == [0, 1, 1]


def _with_confidence(monkeypatch: pytest.MonkeyPatch, sure: float) -> None:
    """Every blob that is bright is so ``sure``."""

    def constant(volume: Volume, peaks: np.ndarray, *rest: object) -> np.ndarray:
        return np.where(volume.array[tuple(peaks.T)] > _TISSUE + _CSF / 4, sure, 0.0)

    monkeypatch.setattr(foci, "confidences", constant)


def test_where_the_nucleus_goes_on_laterally_only_what_is_sure_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 7 mm beside the region and what lies above it, away from the middle."""

    def found(x: float, y: float = 20.0) -> list[int]:
        return [len(_found(0.8 * _capsule(1.5, 0.0, 0.0, (y, x)), k=k)) for k in range(3)]

    _with_confidence(monkeypatch, 0.91)
    assert found(35.0) == found(25.0, 34.0) == [0, 1, 1]
    assert found(5.0) == found(15.0, 34.0) == found(38.5) == [0, 0, 0]
    _with_confidence(monkeypatch, 0.89)
    assert found(35.0) == found(25.0, 34.0) == [0, 0, 0]
    assert found(25.0) == [0, 1, 1]


def test_what_is_less_sure_is_a_candidate_and_what_is_unlikely_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    dot = _capsule(1.5, 0.0, 0.0)
    for sure, likely in ((0.21, [False]), (0.49, [False]), (0.5, [True]), (0.19, [])):
        _with_confidence(monkeypatch, sure)
        assert [focus.likely for focus in _found(dot)] == likely


def test_a_drawn_focus_takes_in_no_candidate_of_the_next_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two dots on each other the lower may be drawn, the upper not: one focus if both are, or both are not."""
    monkeypatch.setattr(foci, "blobs", lambda *given: (np.array([(1, 40, 40), (2, 40, 40)]), np.full(2, 1.5)))
    dot = np.stack([np.zeros((80, 80)), *2 * [_capsule(1.5, 0.0, 0.0)]])
    for sure, expected in (((0.9, 0.5), [0.9]), ((0.9, 0.49), [0.49, 0.9]), ((0.49, 0.3), [0.49])):
        monkeypatch.setattr(foci, "confidences", lambda *given, sure=sure: np.array(sure))
        found = _found(dot, k=slice(None))
        assert sorted(focus.confidence for focus in found) == expected
        assert len(found) == 2 or set(found[0].voxels[:, 0]) == {1, 2}


def test_of_blobs_on_one_another_the_surest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tube has several blobs; the one that is surest outlines it all, and its confidence is the focus's."""
    monkeypatch.setattr(foci, "confidences", lambda volume, peaks, *rest: 0.6 + 0.001 * peaks[:, 2])
    (focus,) = _found(_capsule(1.2, 9.0, 0.0))
    assert focus.confidence > 0.6 + 0.001 * 40 and focus.voxels[:, 2].min() <= 32


def test_a_wide_disc_is_outlined_whole_where_its_smallest_blob_is_the_surest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foci, "confidences", lambda volume, peaks, diameters, *rest: 1 - 0.05 * diameters)
    sizes = [f.diameter_mm for f in _found(_capsule(3.0, 0.0, 0.0)) if np.hypot(f.lps[0] - 20, f.lps[1] - 20) < 1.5]
    assert len(sizes) == 1 and abs(sizes[0] - 3.0) <= 0.5


def test_outlines_never_share_a_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the height of a faint dot that touches a bright one takes the bright one in."""
    peaks = np.array([(1, 40, 40), (1, 40, 45)])
    monkeypatch.setattr(foci, "blobs", lambda *given: (peaks, np.full(2, 1.5)))
    monkeypatch.setattr(foci, "confidences", lambda *given: np.array([0.9, 0.8]))
    both = np.maximum(_capsule(1.5, 0.0, 0.0), 0.4 * _capsule(1.5, 1.5, 0.0, (20.0, 22.0)))
    assert len(_found(0.4 * _capsule(1.5, 1.5, 0.0, (20.0, 22.0)))) == 1 == len(_found(both))


def test_a_dot_that_runs_into_a_cistern_is_outlined_above_it() -> None:
    """At half its height the outline takes the cistern in; higher up only the dot."""
    bright = np.zeros((80, 80))
    bright[20:60, 43:] = 0.55
    dot = _capsule(1.6, 0.0, 0.0, (20.0, 20.9))
    (focus,) = [f for f in _found(np.maximum(bright, dot)) if np.hypot(f.lps[0] - 20.9, f.lps[1] - 20.0) < 1]
    assert not focus.large and len(focus.voxels) * _PIXEL**2 < 4


def test_tissue_as_bright_as_grey_matter_is_none() -> None:
    """Wide patches and edges of grey matter in white matter, and a cistern beside the region."""
    for patch in (_capsule(8.0, 0.0, 0.0), _capsule(6.0, 14.0, 0.7)):
        assert not any(f.likely for f in _found(0.2 * patch))
    edge = np.zeros((80, 80))
    edge[:, 40:] = 0.2
    assert not any(f.likely for f in _found(edge))


def test_fissures_that_lead_out_are_left_out() -> None:
    leading_out = _capsule(1.2, 9.0, 0.0, (20.0, 5.5))  # most of it lies beyond the border of the zone
    assert _found(leading_out) == []
    assert len(_found(_capsule(1.2, 9.0, 0.0, (20.0, 11.0)))) == 1
