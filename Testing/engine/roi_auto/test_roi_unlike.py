"""Blood, metal, oedema, infarcts, cavities, flow and missing slices are named; what they make unsure is withheld."""

from __future__ import annotations

import numpy as np
import pytest
from roi_phantom import LEVELS, Proposal
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import names
from cnsifusion.roi.anatomy import locate
from cnsifusion.roi.names import PARTS
from cnsifusion.roi.propose import propose
from cnsifusion.roi.unlike import UNEQUAL, far_larger

_LEFT, _RIGHT = names.SUBLENTIFORM_LEFT, names.SUBLENTIFORM_RIGHT
_CODES = {part: code for code, part in PARTS.items()}
_ILL = {
    "dark": 0.3 * LEVELS["gm"],
    "CSF": LEVELS["csf"],
    "bright": LEVELS["wm"] + 0.48 * (LEVELS["csf"] - LEVELS["wm"]),
}


def _painted(head: Proposal, mask: np.ndarray, level: float) -> Volume:
    cover = ndimage.gaussian_filter(mask.astype(np.float32), (0, 0.5, 0.5))
    volume = head.phantom.volume
    return volume.with_array((volume.array * (1 - cover) + level * cover).astype(np.float32))


@pytest.mark.parametrize(("what", "name"), [("dark", _LEFT), ("dark", _RIGHT), ("CSF", _LEFT), ("bright", _RIGHT)])
def test_an_ill_side_is_not_offered(whole_head: Proposal, what: str, name: str) -> None:
    other = _RIGHT if name == _LEFT else _LEFT
    region = whole_head.regions.masks[name]
    spot = ndimage.binary_dilation(region, iterations=6) if what == "bright" else region
    found = propose(_painted(whole_head, spot, _ILL[what]), whole_head.anatomy)
    assert what in found.withheld[name]
    assert name not in found.masks and other in found.masks and other not in found.withheld
    assert all(focus.side != ("left" if name == _LEFT else "right") for focus in found.foci)
    assert np.mean(found.masks[other] == whole_head.regions.masks[other]) > 0.999


@pytest.mark.parametrize("name", [_LEFT, _RIGHT])
def test_a_side_beside_metal_is_not_offered(whole_head: Proposal, name: str) -> None:
    """The void lies 10 mm beside the region, where the region's own mirror image does not reach."""
    region, grid = whole_head.regions.masks[name], whole_head.phantom.volume.grid
    points = grid.to_lps(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
    centre = points[region].mean(0) + np.array([16.0 if name == _LEFT else -16.0, -12.0, -6.0])
    void = (np.linalg.norm(points - centre, axis=-1) < 13) & ~ndimage.binary_dilation(region, iterations=2)
    found = propose(_painted(whole_head, void, 6.0), whole_head.anatomy)
    assert list(found.withheld) == [name] and "metal" in found.withheld[name]


@pytest.mark.parametrize("side", ["left", "right"])
def test_csf_in_a_nucleus_is_named(whole_head: Proposal, side: str) -> None:
    nucleus = ndimage.binary_erosion(whole_head.anatomy.prior(f"putamen_{side}") > 0.5, np.ones((1, 3, 3)))
    (note,) = propose(_painted(whole_head, nucleus, LEVELS["csf"]), whole_head.anatomy).notes
    assert note.startswith(f"CSF lies in the {side} lentiform nucleus")


@pytest.mark.parametrize("part", ["third", "fourth"])
def test_dark_csf_of_a_ventricle_is_named(whole_head: Proposal, part: str) -> None:
    true = whole_head.regions.parts == _CODES[part]
    slices = np.flatnonzero(true.any((1, 2)))
    found = propose(_painted(whole_head, true, 0.4 * LEVELS["gm"]), whole_head.anatomy)
    (note,) = (note for note in found.notes if "dark in part" in note)
    assert note.startswith(f"The {part} ventricle is dark in part")
    low, high = (int(word) for word in note.rstrip(".").split("slices ")[1].split(" to "))
    assert abs(low - 1 - slices[0]) <= 1 and abs(high - 1 - slices[-1]) <= 1
    assert not any("dark in part" in note for note in whole_head.regions.notes)


def test_slices_without_signal_are_no_head_to_draw_in(whole_head: Proposal) -> None:
    array = whole_head.phantom.volume.array.copy()
    middle = int(np.flatnonzero(whole_head.anatomy.brain.any((1, 2))).mean())
    array[middle : middle + 2] = 0
    anatomy = locate(whole_head.phantom.volume.with_array(array))
    assert not anatomy.trusted and "Slices in the middle of the brain hold no signal." in anatomy.reasons
    assert whole_head.anatomy.trusted


def test_a_far_larger_side_is_named(whole_head: Proposal, monkeypatch) -> None:
    large, small = np.ones((2, 3, 9), bool), np.zeros((2, 3, 9), bool)
    small[:, :, :3] = True
    assert far_larger({"left": large, "right": small}) and far_larger({"left": small, "right": large})
    assert not far_larger({"left": large, "right": large}) and not far_larger({"left": large})
    assert UNEQUAL not in whole_head.regions.notes
    monkeypatch.setattr("cnsifusion.roi.unlike._LARGER", 0.5)
    assert UNEQUAL in propose(whole_head.phantom.volume, whole_head.anatomy).notes
