"""What the input check warns of and refuses, on either side of every limit."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.imaging import Acquisition, Grid, Volume
from cnsifusion.imaging.check import _acquisition, _geometry
from cnsifusion.imaging.grid import ALONG_LPS

#: Size and spacing (i, j, k) of a head scan, and what is said of it.
GRIDS = [
    ((200, 220, 24), (0.9, 0.9, 5.0), {}),
    ((200, 220, 24), (1.05, 1.05, 5.0), {}),
    ((200, 220, 24), (1.06, 0.9, 5.0), {"pixel": "warn"}),
    ((600, 600, 24), (0.35, 0.35, 5.0), {}),
    ((600, 600, 24), (0.34, 0.35, 5.0), {"pixel": "warn"}),
    ((100, 110, 24), (2.0, 1.8, 5.0), {"pixel": "warn"}),
    ((100, 110, 24), (1.8, 2.01, 5.0), {"pixel": "refuse"}),
    ((400, 300, 24), (0.5, 0.74, 5.0), {}),
    ((400, 300, 24), (0.5, 0.76, 5.0), {"pixel": "refuse"}),
    ((200, 220, 20), (0.9, 0.9, 6.6), {}),
    ((200, 220, 20), (0.9, 0.9, 6.7), {"slice": "warn"}),
    ((200, 220, 12), (0.9, 0.9, 10.0), {"slice": "warn"}),
    ((200, 220, 12), (0.9, 0.9, 10.1), {"slice": "refuse"}),
    ((200, 220, 200), (0.9, 0.9, 0.7), {}),
    ((200, 220, 200), (0.9, 0.9, 0.69), {"slice": "warn"}),
    ((200, 220, 18), (0.9, 0.9, 5.0), {}),
    ((200, 220, 17), (0.9, 0.9, 5.0), {"coverage": "warn"}),
    ((200, 220, 10), (0.9, 0.9, 5.0), {"coverage": "warn"}),
    ((200, 220, 9), (0.9, 0.9, 5.0), {"coverage": "refuse"}),
    ((200, 220, 5), (0.9, 0.9, 10.0), {"slice": "warn", "coverage": "warn"}),
    ((200, 220, 4), (0.9, 0.9, 13.0), {"slice": "refuse", "coverage": "refuse"}),
    ((200, 100, 24), (1.0, 1.0, 5.0), {}),
    ((99, 200, 24), (1.0, 1.0, 5.0), {"field-of-view": "refuse"}),
    ((200, 500, 24), (1.0, 1.0, 5.0), {}),
    ((200, 501, 24), (1.0, 1.0, 5.0), {"field-of-view": "refuse"}),
    ((24, 220, 200), (5.0, 0.9, 0.9), {"not-axial": "refuse"}),
    ((200, 24, 220), (0.9, 5.0, 0.9), {"not-axial": "refuse"}),
]


@pytest.mark.parametrize(("size", "spacing", "said"), GRIDS, ids=str)
def test_of_the_geometry(size, spacing, said) -> None:
    grid = Grid(size, spacing, (0.0, 0.0, 0.0), ALONG_LPS)
    assert {f.code: f.level for f in _geometry(Volume(np.zeros(grid.shape, np.float32), grid))} == said


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, {}),
        ({"acquired_pixel_mm": None}, {"unknown-matrix": "ok"}),
        ({"echo_time": 60.0, "inversion_time": 0.0, "contrast_agent": False, "patient_age_years": 18.0}, {}),
        ({"echo_time": 59.0}, {"echo-time": "warn"}),
        ({"inversion_time": 2500.0}, {"inversion": "warn"}),
        ({"contrast_agent": True}, {"contrast-agent": "warn"}),
        ({"patient_age_years": 17.9}, {"child": "warn"}),
    ],
)
def test_of_the_acquisition(known, said) -> None:
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ALONG_LPS)
    acquisition = Acquisition(**{"acquired_pixel_mm": 0.9, **known})
    volume = Volume(np.zeros(grid.shape, np.float32), grid, acquisition=acquisition)
    assert {f.code: f.level for f in _acquisition(volume)} == said
