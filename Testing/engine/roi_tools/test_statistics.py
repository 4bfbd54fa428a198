"""Statistics of drawn regions against numbers worked out by hand."""

import numpy as np
import pytest

from cnsifusion.imaging import Grid, Volume
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.statistics import region_statistics

GRID = Grid((10, 8, 4), (0.5, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def masks(**where):
    made = {}
    for name, boxes in where.items():
        made[name] = np.zeros(GRID.shape, bool)
        for box in boxes:
            made[name][box] = True
    return made


@pytest.mark.parametrize("unit", [1, 1e-7, 1e6])
def test_size_signal_slices_pieces_and_left_against_right(unit):
    array = np.arange(320, dtype=np.float32).reshape(GRID.shape) * np.float32(unit)
    left = (slice(1, 3), slice(2, 4), slice(5, 8))
    drawn = masks(a=[left, (1, 4, 5)], b=[(1, slice(2, 4), slice(1, 3))], c=[(1, 1, 1), (2, 2, 2), (3, 6, 6)])
    regions = RegionSet(GRID, {SUBLENTIFORM_LEFT: drawn["a"], SUBLENTIFORM_RIGHT: drawn["b"], PVS_LEFT: drawn["c"]})
    found = region_statistics(Volume(array, GRID), regions)
    one, other = found["segments"][SUBLENTIFORM_LEFT], found["segments"][SUBLENTIFORM_RIGHT]
    values = array[drawn["a"]]
    assert one["voxels"] == 13 and one["slices"] == 2 and one["volume_ml"] == pytest.approx(13 * 3 / 1000)
    assert one["largest_area_mm2"] == 7 * 0.5 * 2.0
    assert (one["mean"], one["sd"]) == (pytest.approx(values.mean(), rel=1e-5), pytest.approx(values.std(), rel=1e-5))
    compared = found["left_right"]["sublentiform"]
    assert compared["volume_ml"] == pytest.approx((13 - 4) * 3 / 1000, abs=1e-4)
    assert compared["mean"] == pytest.approx(one["mean"] - other["mean"], rel=1e-5)
    assert found["segments"][PVS_LEFT]["slices"] == 3  # one voxel each
    assert found["segments"][PVS_LEFT]["pieces"] == 2  # what touches by a corner in the next slice is one focus
    assert found["left_right"]["pvs_count"] == {"left": 2, "right": 0}
    assert "pvs" not in found["left_right"] and PVS_RIGHT not in found["segments"]
