"""PVS candidates under the cursor; agreement of readers against published and hand-made figures."""

import numpy as np
import pytest

from cnsifusion.errors import BadInput
from cnsifusion.roi.agreement import compare, dice, icc_2_1
from cnsifusion.roi.names import PVS_LEFT, VENTRICLES
from cnsifusion.roi.regions import Focus, RegionSet
from cnsifusion.roi.tools.pvs import _AROUND_MM, PvsSettings, detect, focus_at, focus_mask, is_accepted, visible
from cnsifusion.roi.tools.result import nothing

from .test_region_io import head, oblique_grid, regions_of

SPACING = (0.5, 0.5, 4.0)


def focus(confidence, k, j, i):
    voxels = np.array([[k, j, i], [k, j, i + 1], [k, j + 1, i]])
    return Focus("left", (i, j, k), (0.0, 0.0, 0.0), 1.0, 5.0, confidence, False, voxels)


def test_sensitivity_focus_under_the_cursor_and_acceptance():
    foci = [focus(0.9, 2, 10, 10), focus(0.4, 2, 10, 16)]
    assert visible(foci, 0.1) == foci[:1] and visible(foci, 0.6) == foci and visible(foci, 0.0) == []
    assert focus_at(foci, (2, 10, 12), SPACING) is foci[0] and focus_at(foci, (2, 10, 15), SPACING) is foci[1]
    assert focus_at(foci, (3, 10, 10), SPACING) is None and focus_at(foci, (2, 30, 10), SPACING) is None
    drawn = focus_mask(foci[0])
    mask = drawn.on((4, 40, 40))
    assert {tuple(v) for v in np.argwhere(mask)} == {tuple(v) for v in foci[0].voxels}
    assert is_accepted(foci[0], drawn) and not is_accepted(foci[1], drawn)
    assert not is_accepted(foci[0], nothing(""))


def scene(diameter_mm, contrast, noise=5.0):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:60, :60]
    dot = (x - 30) ** 2 + (y - 30) ** 2 <= (diameter_mm / 2 / 0.5) ** 2
    return (100 + contrast * dot + rng.normal(0, noise, (3, 60, 60))).astype(np.float32), dot


@pytest.mark.parametrize("diameter", [1.5, 2.0, 2.8])
def test_detects_a_focus_near_the_click(diameter):
    image, dot = scene(diameter, 60)
    for point in ((1, 30, 30), (1, 31, 31)):
        found = detect(image, SPACING, point).on(image.shape)[1]
        assert 2 * (found & dot).sum() / (found.sum() + dot.sum()) > 0.8


@pytest.mark.parametrize("axis", [1, 2])
def test_a_focus_is_measured_in_millimetres_along_both_axes(axis):
    """Every row, or column, twice and half as wide; a brighter spot 2 mm away is not what the click means."""
    spacing, point = list(SPACING), [1, 30, 30]
    spacing[2 - axis], point[axis] = 0.25, 61
    for diameter, wide in ((2.0, False), (3.6, True)):
        image, _ = scene(diameter, 60, noise=1.0)
        image[:, 30, 34] = image[:, 34, 30] = 400 if not wide else 100
        plain, fine = detect(image, SPACING, (1, 30, 30)), detect(image.repeat(2, axis), spacing, tuple(point))
        assert plain.empty == fine.empty == wide and plain.reason[:10] == fine.reason[:10]
        assert np.array_equal(plain.mask.repeat(2, axis), fine.mask)


@pytest.mark.parametrize("axis", [1, 2])
def test_the_surroundings_are_a_disk_in_millimetres(axis):
    """Most of the disk is brighter than the dot; of one cut off half-way along the finer axis most would be darker."""
    spacing, image = list(SPACING), np.full((1, 121, 121), 150.0)
    spacing[2 - axis] = 0.25
    np.moveaxis(image, axis, 0)[np.abs(np.arange(121) - 60) * 0.25 <= 0.35 * _AROUND_MM] = 100
    image[0, 58:63, 58:63] = 140
    assert detect(image, spacing, (0, 60, 60)).reason.startswith("Nothing at this point stands out")


def test_faint_large_and_empty_give_a_reason_and_sensitivity_helps():
    faint, _ = scene(2.0, 14)
    assert detect(faint, SPACING, (1, 30, 30), PvsSettings(0.0)).reason
    assert not detect(scene(2.0, 22)[0], SPACING, (1, 30, 30), PvsSettings(1.0)).empty
    assert "too large" in detect(scene(6.0, 60)[0], SPACING, (1, 30, 30)).reason
    assert detect(faint, SPACING, (9, 0, 0)).reason and detect(np.zeros((1, 5, 5)), SPACING, (0, 2, 2)).reason


def test_icc_equals_the_published_example():
    """Shrout and Fleiss 1979, table 2: ICC(2,1) = .29; McGraw and Wong's interval for it is about .02 to .76."""
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    icc = icc_2_1(np.array(table))
    assert icc.value == pytest.approx(0.2898, abs=1e-4)
    assert (icc.low, icc.high) == (pytest.approx(0.0188, abs=2e-3), pytest.approx(0.7611, abs=2e-3))
    assert icc_2_1(np.array([[1, 1], [2, 2], [5, 5]])).value == 1
    alike = (  # readers differ, heads do not (the last ones' means in their last bit alone)
        [[1, 3], [3, 1], [2, 2]], [[10, 20], [20, 10]], [[2, 0], [1, 1]], [[0.1, 0.2], [0.05, 0.25], [0.3, 0.0]],
    )  # fmt: skip
    for bad in ([[1, 2]], [[1], [2]], [[1, 1], [1, 1]], [[8, 0], [8, 0]], [[1, np.nan], [2, 2]], *alike):
        with pytest.raises(BadInput):
            icc_2_1(np.array(bad))


def test_compare_two_readers():
    volume = head()
    first, second = regions_of(volume), regions_of(volume)
    mask = second.masks[VENTRICLES].copy()
    mask[3] = False
    second.masks = {VENTRICLES: mask}
    rows = {row.name: row for row in compare(first, second)}
    assert rows[VENTRICLES].dice == pytest.approx(2 * 4 / (5 + 4))
    assert rows[VENTRICLES].difference_percent == pytest.approx(100 * (4 - 5) / 4.5)
    areas = np.stack([regions_of(volume).masks[VENTRICLES].sum(axis=(1, 2)), mask.sum(axis=(1, 2))], axis=1)
    expected = icc_2_1(areas[areas.any(axis=1)])
    assert rows[VENTRICLES].areas == expected and -1 < expected.value < 1
    assert rows[PVS_LEFT].areas is None
    assert rows[PVS_LEFT].dice == 0 and rows[PVS_LEFT].volume_second_ml == 0
    assert "PVS right" not in rows and dice(mask & False, mask & False) == 1
    first.masks, second.masks = ({PVS_LEFT: np.zeros(volume.grid.shape, bool)} for _ in range(2))
    for k, (one, two) in enumerate(((1, 3), (3, 1), (2, 2))):
        first.masks[PVS_LEFT][k, 0, :one] = second.masks[PVS_LEFT][k, 0, :two] = True
    (swapped,) = compare(first, second)
    assert swapped.areas is None and swapped.dice == pytest.approx(8 / 12)
    with pytest.raises(BadInput, match="different grids"):
        compare(first, RegionSet(oblique_grid((10, 10, 10))))
