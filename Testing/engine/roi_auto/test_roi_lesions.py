"""Bright tissue beside the ventricles is told from CSF, and partial volume from bright tissue."""

from __future__ import annotations

import numpy as np
import pytest
from roi_phantom import Proposal
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import lesions
from cnsifusion.roi.lesions import Lesions, find_lesions
from cnsifusion.roi.levels import csf_levels
from cnsifusion.roi.propose import propose

_SHAPE, _PIXEL = (8, 100, 100), 0.6


def _volume(share: np.ndarray) -> Volume:
    return Volume(
        share.astype(np.float32), Grid((100, 100, 8), (_PIXEL, _PIXEL, 3.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    )


def _ventricle(slices: slice = slice(0, 8)) -> tuple[np.ndarray, np.ndarray]:
    """A ventricle of 12 x 30 mm as a share of CSF, and the distance (mm) from it."""
    inside = np.zeros(_SHAPE, bool)
    inside[slices, 25:75, 40:60] = True
    distance = np.broadcast_to(_PIXEL * ndimage.distance_transform_edt(~inside.any(0)), _SHAPE)
    return ndimage.gaussian_filter(inside.astype(np.float32), (0, 0.8, 0.8)), distance.copy()


#: Other CSF is far away.
_FAR = np.full(_SHAPE, 16.0)


def test_a_wide_even_margin_is_a_lesion_with_its_own_level() -> None:
    share, distance = _ventricle()
    lesion = (distance > 0) & (distance <= 8)
    lesion[:2] = lesion[6:] = False
    share = np.where(lesion, np.maximum(share, 0.62), share)
    found = find_lesions(share, distance, _FAR, _volume(share))
    assert found.slices.tolist() == [2, 3, 4, 5]
    assert found.sentence(0).endswith("check slices 3 to 6.")
    assert Lesions(found.slices[:1], found.level).sentence(4).endswith("check slice 7.")
    elsewhere = np.full(_SHAPE, 30.0)
    assert not len(find_lesions(share, elsewhere, _FAR, _volume(share)).slices)
    near = lesion & (distance < 4)
    assert np.all(np.abs(found.level[near] - 0.62) < 0.06) and np.all(found.level[:2] == -1)


def _spot(share: np.ndarray, distance: np.ndarray, slices: slice) -> np.ndarray:
    """The ``share`` with bright tissue of 126 mm2 in some slices, 8 mm wide beside the ventricle."""
    spot = (distance > 0) & (distance <= 8)
    spot[:, :, 50:] = spot[:, :66] = False
    spot[: slices.start] = spot[slices.stop :] = False
    return np.where(spot, np.maximum(share, 0.6), share)


def test_what_is_large_in_its_slices_is_a_lesion() -> None:
    share, distance = _ventricle()
    share = _spot(share, distance, slice(2, 7))
    assert find_lesions(share, distance, _FAR, _volume(share)).slices.tolist() == [2, 3, 4, 5, 6]


def _faded(share: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The ``share`` with tissue that is 0.6 bright at the wall and as dark as ever 8 mm from it."""
    return share + (1 - share) * 0.6 * np.clip(1 - distance / 8, 0, 1) * (distance > 0)


def test_oedema_that_fades_from_all_walls_is_seen() -> None:
    share, distance = _ventricle()
    faded = _faded(share, distance)
    found = find_lesions(faded, distance, _FAR, _volume(faded))
    assert found.slices.tolist() == list(range(8))
    assert np.all(np.abs(found.level[(distance > 0) & (distance < 1)] - 0.57) < 0.06)
    one_side = np.where(np.arange(100) < 50, faded, share)
    assert not len(find_lesions(one_side, distance, _FAR, _volume(one_side)).slices)
    assert not len(find_lesions(faded, distance, np.full(_SHAPE, 2.0), _volume(faded)).slices)
    small = Volume(faded.astype(np.float32), Grid((100, 100, 8), (_PIXEL, _PIXEL, 0.9), (0, 0, 0), np.eye(3).ravel()))
    assert not len(find_lesions(faded, distance, _FAR, small).slices)


@pytest.mark.parametrize("case", ["none", "narrow", "steep", "roof", "grey", "small", "shallow", "cistern", "shade"])
def test_partial_volume_is_no_lesion(case: str) -> None:
    (plain, distance), other = _ventricle(slice(0, 5) if case == "roof" else slice(0, 8)), _FAR
    share = plain.copy()
    if case == "narrow":  # a rim of 2 mm
        share = np.where((distance > 0) & (distance <= 2), np.maximum(share, 0.6), share)
    elif case == "steep":  # a wall that slants through 4 mm
        share = np.maximum(share, np.clip(1 - distance / 4, 0, 1))
    elif case == "roof":  # a slice of which the ventricle fills three fifths
        share[5] = 0.6 * share[4]
    elif case == "grey":
        share = np.where((distance > 0) & (distance <= 8), np.maximum(share, 0.3), share)
    elif case == "shallow":  # 2.9 ml in two slices
        share[3:5] = np.where((distance[3:5] > 0) & (distance[3:5] <= 8), np.maximum(share[3:5], 0.6), share[3:5])
    elif case == "small":  # 380 mm2 in all
        share = _spot(share, distance, slice(3, 6))
    elif case == "cistern":
        share, other = _spot(share, distance, slice(0, 8)), np.full(_SHAPE, 2.0)
    elif case == "shade":  # a horn less bright than the rest, with a little of it beyond its place
        share[:, 25:50] = np.minimum(share[:, 25:50], 0.7)
        share[:, 14:25, 42:58] = 0.7
        distance[:, 18:25, 40:60] = 0
    share = np.where(np.arange(100) < 46, share, plain)  # what is bright on all sides is oedema
    found = find_lesions(share, distance, other, _volume(share))
    assert not len(found.slices) and np.all(found.level == -1)


def test_ventricles_keep_their_size_where_lesions_lie_beside_them(whole_head: Proposal, monkeypatch) -> None:
    volume, anatomy = whole_head.phantom.volume, whole_head.anatomy
    before = whole_head.regions.parts == 1
    fluid, tissue = csf_levels(volume, anatomy)
    share = (volume.array - tissue) / (fluid - tissue)
    away = np.stack([ndimage.distance_transform_edt(~plane) * volume.spacing[0] for plane in before])
    x, z = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in (0, 2))
    white = (away <= 7) & (np.abs(x) > 10) & (z > 0)
    mixed = tissue + (0.6 + 0.4 * np.clip(share, 0, None)) * (fluid - tissue)
    ill = volume.with_array(np.where(white, mixed, volume.array).astype(np.float32))
    found = propose(ill, anatomy)
    added = ((found.parts == 1) & ~before).sum()
    assert added < 0.25 * before.sum() and (before & (found.parts != 1)).sum() < 0.1 * before.sum()
    (note,) = (note for note in found.notes if note.startswith("Bright tissue beside the lateral ventricles"))
    assert "check slices" in note
    assert not any(note.startswith("Bright") for note in whole_head.regions.notes)
    for limit in ("_LEAST_MM2", "_AROUND_SHARE"):
        monkeypatch.setattr(lesions, limit, np.inf)
    assert ((propose(ill, anatomy).parts == 1) & ~before).sum() > 2.5 * added
