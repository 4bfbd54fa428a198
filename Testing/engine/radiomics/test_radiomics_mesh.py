"""The marching cubes mesh: every cube, and solids whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

from cnsifusion.radiomics import mesh

SPACING = np.array([1.7, 0.6180339887, 0.4142135623])


@pytest.mark.parametrize("number", range(1, 256))
def test_every_cube_equals_pyradiomics(number):
    pytest.importorskip("radiomics.featureextractor", reason="pyradiomics is not installed")  # not this very folder
    shape = pytest.importorskip("radiomics").cShape
    mask = np.zeros((2, 2, 2), bool)
    for n, corner in enumerate(mesh._CORNERS):
        mask[tuple(corner)] = number >> n & 1
    padded = np.pad(mask, 1)
    expected = shape.calculate_coefficients(padded, SPACING)
    np.testing.assert_allclose(mesh.area_and_volume(padded, SPACING), expected[:2], rtol=1e-12)
    if number > 1:
        found = mesh.features(np.stack(np.nonzero(padded), axis=1), SPACING)
        names = [f"Maximum2DDiameter{a}" for a in ("Slice", "Column", "Row")] + ["Maximum3DDiameter"]
        np.testing.assert_allclose([found[n] for n in names], expected[2], rtol=1e-12)


def test_a_ball_and_a_box_have_their_measures():
    j = np.arange(-25, 26)
    ball = (j[:, None, None] ** 2 + j[:, None] ** 2 + j**2) <= 20**2
    found = mesh.features(np.stack(np.nonzero(ball), axis=1), np.full(3, 0.5))
    assert found["MeshVolume"] == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.01)
    assert found["Maximum3DDiameter"] == pytest.approx(20.0, abs=0.6)
    assert found["Elongation"] == pytest.approx(1, abs=1e-9) and found["Flatness"] == pytest.approx(1, abs=1e-9)
    box = mesh.features(np.stack(np.nonzero(np.ones((10, 20, 40), bool)), axis=1), np.array([4.0, 1.0, 0.5]))
    assert box["VoxelVolume"] == 10 * 20 * 40 * 2
    assert box["MajorAxisLength"] == pytest.approx(4 * 4 * np.sqrt((10**2 - 1) / 12))
