"""The same head in every storage order, container and type: the same grid and voxels, regions and probability."""

from __future__ import annotations

import gzip
import itertools
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import write_series

from cnsifusion.analysis import Analyzer, PatientResult
from cnsifusion.imaging import Grid, Volume, read_image, write_volume
from cnsifusion.imaging.grid import snap

ORDERS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product([False, True], repeat=3)
]


def turned(degrees: float) -> tuple[float, ...]:
    """Axes turned about i and k."""
    a, b = np.radians([degrees, degrees / 3])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    rz = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return tuple((rx @ rz).ravel())


@pytest.fixture(scope="module")
def block() -> Volume:
    """Oblique random whole numbers, another size and spacing along every axis."""
    rng = np.random.default_rng(11)
    grid = snap(Grid((31, 27, 9), (0.43, 0.47, 5.5), (-61.13, -77.71, 12.49), turned(9)))
    return Volume(rng.integers(0, 4000, grid.shape).astype(np.float32), grid)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_all_48_orders_in_every_container(block, suffix, tmp_path) -> None:
    for axes, flips in ORDERS:
        image = sitk.Flip(sitk.PermuteAxes(block.to_sitk(), axes), flips, False)
        sitk.WriteImage(sitk.Cast(image, sitk.sitkInt16), str(tmp_path / f"x{suffix}"))
        again = read_image(tmp_path / f"x{suffix}")
        assert again.grid == block.grid, (axes, flips)
        assert np.array_equal(again.array, block.array), (axes, flips)


@pytest.mark.parametrize("name", ["x.nii.gz", "X.NII.GZ"])
def test_a_namesake_beside_the_file_is_not_read(block, name, tmp_path) -> None:
    """ITK alone reads the header of x.nii.gz and, when there is one, the voxels of x.nii."""
    write_volume(block, tmp_path / "own.nii.gz")
    (tmp_path / "own.nii.gz").rename(tmp_path / name)
    other = sitk.Cast(block.to_sitk() + 1.0, sitk.sitkFloat32)
    sitk.WriteImage(other, str(tmp_path / "other.nii"))
    (tmp_path / "other.nii").rename(tmp_path / Path(name).stem)
    assert np.array_equal(read_image(tmp_path / name).array, block.array)
    assert np.array_equal(read_image(tmp_path / Path(name).stem).array, block.array + 1)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (2, 4)], ids=str)
def test_qform_and_sform_alone_or_both(block, codes, tmp_path) -> None:
    write_volume(block, tmp_path / "x.nii.gz")
    content = bytearray(gzip.decompress((tmp_path / "x.nii.gz").read_bytes()))
    struct.pack_into("<2h", content, 252, *codes)
    (tmp_path / "y.nii").write_bytes(content)
    again = read_image(tmp_path / "y.nii")
    assert again.grid == block.grid and np.array_equal(again.array, block.array)


TYPES = (sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32, sitk.sitkUInt32, sitk.sitkFloat32, sitk.sitkFloat64)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr"])
def test_every_type_that_holds_the_values(block, suffix, tmp_path) -> None:
    for kind in TYPES:
        sitk.WriteImage(sitk.Cast(block.to_sitk(), kind), str(tmp_path / f"x{suffix}"))
        again = read_image(tmp_path / f"x{suffix}")
        assert again.grid == block.grid and np.array_equal(again.array, block.array), kind


@pytest.fixture(scope="module")
def plain(simulated_image, tmp_path_factory):
    """A head of whole numbers, and its result and file of regions as analyzed from an image of float64."""
    head, folder = read_image(simulated_image), tmp_path_factory.mktemp("plain")
    head = head.with_array(head.array.round())
    sitk.WriteImage(sitk.Cast(head.to_sitk(), sitk.sitkFloat64), str(folder / "double.nrrd"))
    return head, *analyze(folder / "double.nrrd")


def analyze(path: Path) -> tuple[PatientResult, Path]:
    """Result and file of regions, by an analyzer of its own: no cache may make two equal."""
    out = path.parent / f"out-{path.stem}"
    return Analyzer().analyze(path, out), out / "rois.seg.nrrd"


def same(a: PatientResult, b: PatientResult) -> bool:
    """Whether two results say the same of the same instances."""
    return a.patient.probability == pytest.approx(b.patient.probability, abs=1e-6) and [
        (i.key, i.side, i.pixels) for i in a.instances
    ] == [(i.key, i.side, i.pixels) for i in b.instances]


def test_regions_and_probability_do_not_depend_on_storage(plain, tmp_path) -> None:
    head, expected, regions = plain
    # A known acquired matrix lawfully changes which filter scales are used; the other containers cannot tell it.
    write_series(head, tmp_path / "series", AcquisitionMatrix=[0, 0, 0, 0])
    sagittal = sitk.Flip(sitk.PermuteAxes(head.to_sitk(), (1, 2, 0)), (True, False, True), False)
    sitk.WriteImage(sitk.Cast(sagittal, sitk.sitkUInt16), str(tmp_path / "sagittal.mha"))
    for name in ("series", "sagittal.mha"):
        result, file = analyze(tmp_path / name)
        assert same(result, expected) and file.read_bytes() == regions.read_bytes(), name


def test_padding_changes_neither_regions_nor_probability(plain, tmp_path) -> None:
    head, expected, regions = plain
    (ni, nj, nk), rim = head.grid.size, 61
    origin = tuple(head.grid.to_lps((-rim, -rim, 0)).tolist())
    grid = snap(Grid((ni + 2 * rim, nj + 2 * rim, nk), head.spacing, origin, head.grid.direction))
    write_volume(Volume(np.pad(head.array, ((0, 0), (rim, rim), (rim, rim))), grid), tmp_path / "padded.nii.gz")
    result, file = analyze(tmp_path / "padded.nii.gz")
    assert same(result, expected)
    volumes = [np.count_nonzero(sitk.GetArrayFromImage(sitk.ReadImage(str(each)))) for each in (file, regions)]
    assert volumes[0] == volumes[1]
