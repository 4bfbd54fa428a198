"""The native engine against pyradiomics itself, over what an image and a region can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from engine_parity import FIRST_ORDER_BOUND, errors, worst_per_class
from radiomics_cases import discs, image, oblique, solid

from cnsifusion.imaging.grid import reorder
from cnsifusion.imaging.volume import Volume, grid_of
from cnsifusion.radiomics import RadiomicsSettings, RegionMask, extract, extract_with_pyradiomics

pytest.importorskip("radiomics", reason="pyradiomics is not installed: parity is tested on stored values alone")

DATA = Path(__file__).parents[4] / "shared" / "data"


def assert_parity(volume: Volume, regions: list[RegionMask], settings: RadiomicsSettings) -> None:
    native, reference = extract(volume, regions, settings), extract_with_pyradiomics(volume, regions, settings)
    assert native.names == reference.names
    assert np.isfinite(reference.values).mean() > 0.9
    failed = [worst for worst in worst_per_class(native, reference) if not worst.passed]
    assert not failed, failed


IMAGES = {
    "thick slices": {},
    "isotropic": {"shape": (24, 50, 44), "spacing": (1.0, 1.0, 1.0)},
    "odd spacing, oblique": {"spacing": (0.4321, 0.871, 2.77), "direction": oblique()},
    "integers": {"dtype": np.int16},
    "double precision": {"dtype": np.float64},
}
SETTINGS = {
    "2-D": RadiomicsSettings(log_sigmas_mm=(1.0, 2.0)),
    "2-D, LoG in plane": RadiomicsSettings(log_sigmas_mm=(0.5, 3.0), log_mode="2D"),
    "3-D": RadiomicsSettings(log_sigmas_mm=(1.5,), force_2d=False, minimum_dimensions=1),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", IMAGES.values(), ids=IMAGES)
def test_equals_pyradiomics(kind, settings):
    volume = image(**kind)
    assert_parity(volume, [*discs(volume), solid(volume)], settings)


@pytest.mark.parametrize(
    "change",
    [
        {"bin_count": 16},
        {"bin_width": {"original": 47.3, "log": 13.1}},
        {"bin_width": {"original": 200.0, "log": 10.0, "log-sigma-2-0-mm-3D": 60.0}},
        {"distances": (1, 3), "gldm_a": 1},
        {"voxel_array_shift": 1000.0, "standard_deviation": True},
        {"normalize": True, "normalize_scale": 100.0, "remove_outliers": 2.5},
        {"force_2d": False, "feature_classes": ("shape", "firstorder", "ngtdm"), "distances": (2,)},
    ],
    ids=str,
)
def test_every_setting_means_what_it_means_in_pyradiomics(change):
    volume = image(seed=5)
    settings = RadiomicsSettings(**{"log_sigmas_mm": (2.0,), **change})
    assert_parity(volume, [*discs(volume, (4.0, 11.0)), solid(volume)], settings)


def test_slices_along_another_axis():
    volume = image(shape=(40, 30, 36), spacing=(0.9, 2.0, 0.8))
    mask = discs(Volume(volume.array.transpose(1, 0, 2), volume.grid), (9.0,))[0].mask
    for mode in ("2D", "3D"):
        settings = RadiomicsSettings(log_sigmas_mm=(2.0,), log_mode=mode, force_2d_axis=1)
        assert_parity(volume, [RegionMask("disc", mask, 11)], settings)


def test_tiny_regions():
    volume = image(shape=(6, 20, 20))
    pairs = {"row": [(4, 4), (4, 5)], "corner": [(9, 9), (9, 10), (10, 9)], "apart": [(2, 2), (2, 3), (7, 9), (8, 9)]}
    regions = []
    for n, (name, pixels) in enumerate(pairs.items()):
        mask = np.zeros((20, 20), bool)
        mask[tuple(np.transpose(pixels))] = True
        regions.append(RegionMask(name, mask, n + 1))
    settings = RadiomicsSettings(log_sigmas_mm=(), minimum_dimensions=1, bin_width={"original": 120.0})
    native, reference = extract(volume, regions, settings), extract_with_pyradiomics(volume, regions, settings)
    error = errors(native, reference)
    # pyradiomics drops a direction whose eigenvalue or information rounds below 0; the value there is 0
    rounding = [n for n, name in enumerate(native.names) if name.endswith(("_MCC", "_Imc2"))]
    assert np.delete(error, rounding, axis=1).max() < 1e-8


def test_directions_in_which_one_of_two_levels_has_neighbours():
    volume = image(shape=(6, 20, 20))
    volume.array[2] = 0
    volume.array[2, 8:10, 12] = 500
    mask = np.zeros((20, 20), bool)
    mask[3, 3:5] = mask[8:10, 12] = True
    assert_parity(volume, [RegionMask("two levels", mask, 2)], RadiomicsSettings(log_sigmas_mm=()))


def test_a_flat_region_has_pyradiomics_values():
    volume = image(shape=(6, 20, 20))
    volume.array[3] = 0.1
    mask = np.zeros((20, 20), bool)
    mask[5:15, 6:16] = True
    for settings in (RadiomicsSettings(log_sigmas_mm=()), RadiomicsSettings(log_sigmas_mm=(), bin_count=16)):
        assert_parity(volume, [RegionMask("flat", mask, 3)], settings)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_log_equals_itk_everywhere(mode, sigma):
    """Every voxel of a region that reaches all borders, against the filter run over the whole volume or slice."""
    volume = image(shape=(9, 40, 50), spacing=(0.7, 0.8, 1.9), direction=oblique())
    everything = RegionMask("all", np.ones(volume.array.shape, bool))
    corner = np.zeros(volume.array.shape[1:], bool)
    corner[:7, -5:] = True
    settings = RadiomicsSettings(
        original=False, log_sigmas_mm=(sigma,), log_mode=mode, feature_classes=("firstorder",), bin_count=32
    )
    for region in (everything, RegionMask("corner", corner, 4)):
        native, reference = extract(volume, [region], settings), extract_with_pyradiomics(volume, [region], settings)
        assert errors(native, reference).max() < FIRST_ORDER_BOUND / 2


@pytest.mark.real
@pytest.mark.parametrize("case", ["oms_patient01_study1", "cstar_stroke"])
def test_equals_pyradiomics_on_real_volumes(case):
    files = sorted((DATA / case).glob("*.nii.gz"))
    if not files:
        pytest.skip("the real volumes in ../shared/data are absent")
    stored = sitk.ReadImage(str(next(f for f in files if "T2" in f.name)))
    truth = sitk.ReadImage(str(next(f for f in files if "dseg" in f.name)))
    array, grid = reorder(sitk.GetArrayFromImage(stored).astype(np.float32), grid_of(stored))
    labels, _ = reorder(sitk.GetArrayFromImage(truth), grid_of(truth))
    j, i = (slice(max(n.min() - 25, 0), n.max() + 25) for n in np.nonzero((labels > 0).any(axis=0)))
    array, labels = array[:, j, i], labels[:, j, i]
    grid = replace(grid, size=array.shape[::-1])
    volume = Volume((array * 100 / array.std()).astype(np.float32), grid)
    regions = []
    for label in (1, 4, 5):
        k = int(np.argmax((labels == label).sum(axis=(1, 2))))
        regions.append(RegionMask(str(label), labels[k] == label, k))
    settings = RadiomicsSettings(log_sigmas_mm=(2.0,), bin_width={"original": 10.0, "log": 4.0})
    assert_parity(volume, regions, settings)
    putamen = RegionMask("putamen", labels == 4)
    assert_parity(volume, [putamen], replace(settings, force_2d=False, feature_classes=()))
