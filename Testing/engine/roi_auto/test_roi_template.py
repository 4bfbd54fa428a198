"""The template's labels lie where the published MNI figures say."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.roi.template import (
    LABELS,
    WINDOW_X,
    WINDOW_Y,
    WINDOW_Z,
    below_columns,
    load_template,
    sublentiform_region,
)

#: Mean MNI positions (mm, right side positive x) from shared/data/README.md with a tolerance (mm).
PUBLISHED = {
    "putamen": ((25.7, 2.0, 0.0), 3.0),
    "pallidum": ((18.3, -2.0, -1.8), 3.0),
}


def mni(mask: np.ndarray) -> np.ndarray:
    points = load_template().grid.to_lps(np.argwhere(mask)[:, ::-1])
    return points * (-1, -1, 1)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("side", "sign"), [("left", -1), ("right", 1)])
def test_means(name: str, side: str, sign: int) -> None:
    centre, tolerance = PUBLISHED[name]
    mean = mni(load_template().mask(f"{name}_{side}")).mean(0)
    assert np.linalg.norm(mean - np.array(centre) * (sign, 1, 1)) < tolerance


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((25, -8, 8), True),  # its back, beside the posterior limb of the internal capsule
        ((29, -16, 6), True),
        ((17, 8, -9), True),  # its base in front of the anterior commissure
        ((28, 0, 8), True),
        ((15, 20, 0), False),  # the head of the caudate nucleus
        ((14, 20, -4), False),  # the nucleus accumbens
        ((27, 8, -12), False),  # the white matter below the insula
        ((33, 10, 2), False),  # the external capsule
    ],
)
def test_the_putamen_follows_the_picture(point: tuple[int, int, int], inside: bool) -> None:
    template = load_template()
    i, j, k = np.rint(template.grid.to_ijk(np.array(point) * (-1, -1, 1))).astype(int)
    assert template.mask("putamen_right")[k, j, i] == inside


def test_sides_mirror_each_other() -> None:
    labels = load_template().labels
    for name, value in LABELS.items():
        if name.endswith("_left"):
            right = LABELS[name.replace("_left", "_right")]
            assert np.array_equal(labels == value, (labels == right)[:, :, ::-1]), name


def test_volumes_are_adult() -> None:
    template = load_template()
    millilitres = {name: template.mask(name).sum() / 1000 for name in LABELS}
    assert 6 < millilitres["lateral_left"] < 14
    assert 0.7 < millilitres["third"] < 2
    assert 1 < millilitres["fourth"] < 3
    assert 5 < millilitres["putamen_left"] < 8
    assert 0.8 < millilitres["pallidum_left"] < 2.2


def test_the_fourth_ventricle_reaches_from_the_aqueduct_to_the_obex() -> None:
    points = mni(load_template().mask("fourth"))
    top, bottom = (points[points[:, 2] == z] for z in (points[:, 2].max(), points[:, 2].min()))
    assert -16 <= top[0, 2] <= -14 and np.abs(top[:, 0]).max() <= 2
    assert -53 <= bottom[0, 2] <= -51 and np.abs(bottom[:, 0]).max() <= 4


def test_region_b_lies_where_the_protocol_has_it() -> None:
    found = mni(sublentiform_region())
    found = found[found[:, 0] > 0]
    assert 1500 < len(found) < 2600  # mm3 of one side
    assert np.linalg.norm(found.mean(0) - (20.6, 1.7, -12.5)) < 3  # where shared/data/README.md has it
    low, high = np.array([WINDOW_X, WINDOW_Y, WINDOW_Z]).T
    assert np.all(found >= low) and np.all(found <= high)


def test_below_columns_counts_from_the_lowest_voxel() -> None:
    mask = np.zeros((9, 1, 2), bool)
    mask[[5, 7], 0, 0] = True
    below = below_columns(mask, 3)
    assert np.flatnonzero(below[:, 0, 0]).tolist() == [2, 3, 4]
    assert not below[:, 0, 1].any()
