"""Parity where pyradiomics cannot be installed: its values, stored, for an image made of whole numbers.

Remake the stored values with: python Testing/engine/radiomics/test_radiomics_stored.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_parity import worst_per_class
from radiomics_cases import oblique

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings, RegionMask, extract, extract_with_pyradiomics

HERE = Path(__file__).parent
SETTINGS = {
    "slices": RadiomicsSettings(log_sigmas_mm=(1.0, 2.0), log_mode="2D"),
    "volume": RadiomicsSettings(log_sigmas_mm=(1.5,), force_2d=False),
}


def case() -> tuple[Volume, list[RegionMask]]:
    """Waves rounded to whole numbers, and three regions, without any random number."""
    k, j, i = np.ogrid[:8, :44, :52]
    waves = 400 * np.sin(i / 3.1 + k) * np.cos(j / 4.7) + 150 * np.sin(i * j / 40.0)
    waves = waves + 90 * np.cos(1.9 * i + 2.3 * j + k)
    grid = Grid((52, 44, 8), (0.5, 0.625, 3.5), (1.0, 2.0, 3.0), oblique(9))
    volume = Volume(np.round(waves).astype(np.float32), grid)
    disc = ((j - 20) ** 2 + (i - 24) ** 2 < 13**2)[0]
    ring = disc & ~((j - 22) ** 2 + (i - 25) ** 2 < 7**2)[0]
    ball = (1.5 * (k - 4)) ** 2 + (j - 20) ** 2 / 20 + (i - 24) ** 2 / 25 < 9
    return volume, [RegionMask("disc", disc, 3), RegionMask("ring", ring, 5), RegionMask("ball", ball)]


@pytest.mark.parametrize("name", SETTINGS)
def test_equals_the_stored_values_of_pyradiomics(name):
    stored = FeatureTable.read(HERE / f"stored_{name}.csv")
    native = extract(*case(), SETTINGS[name])
    assert native.names == stored.names and stored.metadata["settings"] == SETTINGS[name].to_dict()
    failed = [worst for worst in worst_per_class(native, stored) if not worst.passed]
    assert not failed, failed


if __name__ == "__main__":
    for name, settings in SETTINGS.items():
        extract_with_pyradiomics(*case(), settings).write(HERE / f"stored_{name}.csv")
