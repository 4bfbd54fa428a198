"""Reading, geometry, check and preparation."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_enhanced, write_series
from scipy.ndimage import map_coordinates

from cnsifusion.errors import BadInput
from cnsifusion.imaging import (
    Grid,
    PreparationSettings,
    Volume,
    atomic_path,
    check_image,
    prepare,
    read_image,
    read_labels,
    write_text,
    write_volume,
)
from cnsifusion.imaging.dicom import patient_key, series_files
from cnsifusion.imaging.grid import reorder, restore, snap
from cnsifusion.imaging.prepare import log_bias_field, resample_in_plane
from cnsifusion.roi.region_io import read_regions


def oblique(degrees: float = 12.0) -> tuple[float, ...]:
    """Direction of a head turned about two axes."""
    a, b = np.radians([degrees, degrees / 2])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    rz = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return tuple((rx @ rz).ravel())


@pytest.fixture(scope="module")
def volume() -> Volume:
    """A head-sized ellipsoid with texture: whole-number voxels, oblique, different size along every axis."""
    rng = np.random.default_rng(1)
    grid = snap(Grid((90, 110, 24), (2.0, 1.8, 6.0), (-80.1, -95.2, -60.3), oblique()))
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    inside = k**2 + j**2 + i**2 < 0.8
    array = np.where(inside, 300 + 40 * i, 5) + rng.integers(0, 60, grid.shape)
    return Volume(array.round().astype(np.float32), grid)


@pytest.mark.parametrize(("age", "child"), [("011M", True), ("080W", True), ("300D", True), ("017Y", True),
                                            ("018Y", False), ("Y", False), ("²²²M", False)])  # fmt: skip
def test_a_child_is_known_whatever_unit_its_age_has(volume: Volume, age, child, tmp_path) -> None:
    write_series(volume, tmp_path, PatientAge=age)
    assert ("child" in [f.code for f in check_image(read_image(tmp_path)).findings]) == child


def test_dicom_classic_and_enhanced_read_bit_equal(volume: Volume, tmp_path) -> None:
    write_series(volume, tmp_path / "classic")
    (tmp_path / "classic" / "README.txt").write_text("not an image")
    write_enhanced(volume, tmp_path / "enhanced" / "one.dcm")
    for folder in ("classic", "enhanced"):
        again = read_image(tmp_path / folder)
        assert again.grid == volume.grid, folder
        assert np.array_equal(again.array, volume.array), folder
    acquisition = read_image(tmp_path / "classic").acquisition
    assert (acquisition.repetition_time, acquisition.echo_time, acquisition.field_strength) == (4000, 100, 1.5)
    assert acquisition.patient_age_years == 45
    assert acquisition.acquired_pixel_mm == pytest.approx(110 * 1.8 / 55)
    write_series(volume.cropped((slice(0, 4), slice(0, 50), slice(0, 90))), tmp_path / "wide")
    assert read_image(tmp_path / "wide").acquisition.acquired_pixel_mm == pytest.approx(90 * 2 / 45)


def test_rescale_slope_is_applied(volume: Volume, tmp_path) -> None:
    even = volume.with_array(np.float32(2) * np.round(volume.array / 2))
    write_series(even, tmp_path, slope=2.0)
    assert np.array_equal(read_image(tmp_path).array, even.array)


def test_files_whose_series_identifier_was_taken_are_one_series_by_folder(volume: Volume, tmp_path) -> None:
    for name in ("a", "b"):
        write_series(volume, tmp_path / name, SeriesInstanceUID="")
        assert np.array_equal(read_image(tmp_path / name).array, volume.array)
    assert [len(files) for files in series_files(tmp_path).values()] == [volume.grid.size[2]] * 2


def test_a_damaged_file_beside_a_series_does_not_stop_the_reading(volume: Volume, tmp_path) -> None:
    """Each byte of a header changed in turn: pydicom's own faults are of many kinds, none may be taken for ours."""
    head = write_series(volume, tmp_path / "series")[0].read_bytes()[128:700]
    (tmp_path / "damaged").mkdir()
    for place, byte in itertools.product(range(4, len(head)), (0, 3, 255)):
        damaged = head[:place] + bytes([byte]) + head[place + 1 :]
        (tmp_path / "damaged" / f"{place}-{byte}").write_bytes(bytes(128) + damaged)
    ((uid, files),) = series_files(tmp_path / "series").items()
    assert len(files) == volume.grid.size[2] and set(files) <= set(series_files(tmp_path)[uid])


def test_dicom_faults_have_their_own_sentences(volume: Volume, tmp_path) -> None:
    paths = write_series(volume, tmp_path / "a")
    write_series(volume, tmp_path / "a" / "second")
    with pytest.raises(BadInput, match="2 DICOM series"):
        read_image(tmp_path / "a")
    paths = write_series(volume, tmp_path / "b")
    sorted(paths, key=read_position)[len(paths) // 2].unlink()
    with pytest.raises(BadInput, match="missing"):
        read_image(tmp_path / "b")
    paths = write_series(volume, tmp_path / "c")
    (tmp_path / "c" / "copy").write_bytes(paths[0].read_bytes())
    with pytest.raises(BadInput, match="same place"):
        read_image(tmp_path / "c")
    write_series(volume, tmp_path / "d", Modality="CT")
    with pytest.raises(BadInput, match="not MR"):
        read_image(tmp_path / "d")
    for number, (tag, value, said) in enumerate((
        ("ImagePositionPatient", lambda p: [p[0] + 0.6, p[1], p[2]], "shifted"),
        ("ImagePositionPatient", lambda p: [p[0], p[1], p[2] + 1], "missing"),
        ("PixelSpacing", lambda s: [s[0], s[1] + 0.01], "homogeneous"),
        ("ImageOrientationPatient", lambda o: [1, 0, 0, 0, 1, 0], "differ in orientation"),
    )):  # fmt: skip
        path = write_series(volume, tmp_path / f"one of {number}")[5]
        header = pydicom.dcmread(path)
        setattr(header, tag, value(getattr(header, tag)))
        header.save_as(path)
        with pytest.raises(BadInput, match=said):
            read_image(path.parent)
    for path in write_series(volume, tmp_path / "j")[1:]:
        path.unlink()
    with pytest.raises(BadInput, match="single slice"):
        read_image(tmp_path / "j")
    (tmp_path / "e").mkdir()
    with pytest.raises(BadInput, match="no readable DICOM"):
        read_image(tmp_path / "e")


def test_a_deflated_file_is_passed_over_unread_even_where_it_cannot_be_unpacked(volume: Volume, tmp_path) -> None:
    path = write_series(volume, tmp_path)[0]
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"damaged")
    assert path not in next(iter(series_files(tmp_path).values())) and patient_key(path) == ""
    with pytest.raises(BadInput, match="no DICOM segmentation"):
        read_regions(path, volume)


def read_position(path) -> float:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    normal = np.cross(*np.array(header.ImageOrientationPatient, float).reshape(2, 3))
    return float(np.array(header.ImagePositionPatient, float) @ normal)


def bad_files(volume: Volume, folder) -> dict[str, tuple]:
    """Files no reader may take, with a word of the sentence that must come."""
    whole = folder / "whole.nii.gz"
    write_volume(volume, whole)
    plain = folder / "plain.nii"
    write_volume(volume, plain)
    (folder / "cut.nii.gz").write_bytes(whole.read_bytes()[:3000])
    (folder / "cut.nii").write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    (folder / "text.nii.gz").write_text("hello")
    (folder / "note.txt").write_text("hello")
    (folder / "empty.nrrd").write_bytes(b"")
    series = sitk.JoinSeries([volume.to_sitk()] * 3)
    sitk.WriteImage(series, str(folder / "series.nii.gz"))
    sitk.WriteImage(sitk.Compose([volume.to_sitk()] * 3), str(folder / "vector.nrrd"))
    sitk.WriteImage(volume.to_sitk()[:, :, 3], str(folder / "flat.mha"))
    return {
        "absent.nii.gz": "no readable file", "cut.nii.gz": "damaged|cut short", "cut.nii": "damaged|cut short",
        "text.nii.gz": "damaged|cut short", "note.txt": "not NIfTI", "empty.nrrd": "empty",
        "series.nii.gz": "4-D series of 3", "vector.nrrd": "several values", "flat.mha": "2-D",
    }  # fmt: skip


def test_unreadable_files_have_their_own_sentences(volume: Volume, tmp_path) -> None:
    for name, words in bad_files(volume, tmp_path).items():
        with pytest.raises(BadInput, match=words):
            read_image(tmp_path / name)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr", ".nrrd"])
def test_an_image_is_known_by_its_voxels_wherever_they_are_stored(ending, tmp_path) -> None:
    """A header alone is the same file for every patient of one protocol."""
    hashes, headers = set(), set()
    for number in range(2):
        path = tmp_path / str(number) / "T2.nhdr"
        path.parent.mkdir()
        path = path.with_suffix(".nhdr" if ending == ".nrrd" else ending)
        sitk.WriteImage(sitk.Image(6, 5, 4, sitk.sitkUInt8) + number, path)
        path = path.rename(path.with_suffix(ending))
        headers.add(path.read_bytes())
        hashes.add(read_image(path).sha256)
    assert len(headers) == 1 and len(hashes) == 2


def test_singleton_fourth_dimension_is_a_volume(volume: Volume, tmp_path) -> None:
    sitk.WriteImage(sitk.JoinSeries([volume.to_sitk()]), str(tmp_path / "x.nii.gz"))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array, volume.array)


def test_labels_must_be_whole_numbers(volume: Volume, tmp_path) -> None:
    write_volume(volume.with_array(volume.array + 0.5), tmp_path / "x.nii.gz")
    with pytest.raises(BadInput, match="whole-number"):
        read_labels(tmp_path / "x.nii.gz")
    write_volume(volume, tmp_path / "y.nii.gz")
    labels, grid = read_labels(tmp_path / "y.nii.gz")
    assert grid == volume.grid and np.array_equal(labels, volume.array)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))), ids=str)
def test_restore_is_the_inverse_of_reorder(axes) -> None:
    rng = np.random.default_rng(2)
    matrix = np.eye(3)[:, list(axes)] * rng.choice([-1, 1], 3)
    grid = Grid((4, 5, 6), (1.0, 1.1, 1.2), (0, 0, 0), tuple(matrix.ravel()))
    array = rng.random(grid.shape)
    turned, canonical = reorder(array, grid)
    assert np.array_equal(restore(turned, grid), array)
    brightest = [np.unravel_index(a.argmax(), a.shape)[::-1] for a in (array, turned)]
    assert np.allclose(grid.to_lps(brightest[0]), canonical.to_lps(brightest[1]))
    assert np.array_equal(canonical.matrix, np.eye(3))


def test_sheared_axes_are_refused() -> None:
    direction = (1, 0.3, 0, 0, 1, 0, 0, 0, 1)
    with pytest.raises(BadInput, match="right angles"):
        snap(Grid((10, 10, 10), (1, 1, 1), (0, 0, 0), direction))
    with pytest.raises(BadInput, match="spacing"):
        snap(Grid((10, 10, 10), (1, 0, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))


def test_grid_maps_there_and_back(volume: Volume) -> None:
    ijk = np.random.default_rng(0).uniform(0, 80, (50, 3))
    assert np.allclose(volume.grid.to_ijk(volume.grid.to_lps(ijk)), ijk)
    point = volume.to_sitk().TransformIndexToPhysicalPoint((3, 5, 7))
    assert np.allclose(volume.grid.to_lps(np.array([3, 5, 7])), point)
    part = volume.grid.cropped((slice(2, 9), slice(1, 20), slice(3, 8)))
    assert part.shape == (7, 19, 5) and np.allclose(part.to_lps(np.array([0, 4, 5])), point)


@pytest.mark.parametrize(("levels", "warned"), [(24, True), (255, False), (4096, False)])
def test_check_warns_of_storage_with_loss(levels: int, warned: bool) -> None:
    """Few levels over the tissue, even where fat and a bright spot use the rest of the type's range."""
    random = np.random.default_rng(1)
    array = random.gamma(9.0, 40.0, (9, 200, 200))
    array = np.round(array / array.max() * levels)
    array[4, 0, :] = np.arange(200) + levels  # the spot
    grid = Grid((200, 200, 9), (0.8, 0.8, 6.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    codes = {f.code for f in check_image(Volume(array.astype(np.float32), grid)).findings}
    assert ("stored-with-loss" in codes) == warned


def test_check_names_what_is_wrong(volume: Volume) -> None:
    assert check_image(volume).verdict == "warn"  # pixels of 2 mm lie outside the intended range
    turned = reorder(volume.array, Grid(volume.grid.size, (6.0, 1.0, 1.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    sagittal = check_image(Volume(*turned))
    assert sagittal.verdict == "refuse" and "sagittal" in sagittal.reasons[0]
    for broken, code in ((np.nan, "not-finite"), (None, "constant")):
        array = volume.array.copy()
        array[5, 5] = np.nan if broken is not None else array[5, 5]
        report = check_image(volume.with_array(array if broken is not None else np.zeros_like(array)))
        assert (report.verdict, report.findings[0].code) == ("refuse", code)


@pytest.mark.parametrize("kind", ["CT", "standardised", "inverted"])
def test_an_image_whose_air_is_far_below_zero_is_refused_by_that_name(volume: Volume, kind) -> None:
    """Contrast is a ratio, which a shifted zero makes meaningless; slight undershoot is ringing and stays."""
    a = volume.array
    shifted = {"CT": a * 2 - 1000, "standardised": (a - a.mean()) / a.std(), "inverted": -a}[kind]
    report = check_image(volume.with_array(shifted.astype(np.float32)))
    assert report.verdict == "refuse" and "below zero" in report.reasons[0] and len(report.reasons) < 4
    ringing = check_image(volume.with_array(a - np.float32(0.02) * a.max()))
    assert "shifted" not in {f.code for f in ringing.findings}


def test_an_image_without_a_bright_part_is_not_said_to_have_no_grey_values(volume: Volume) -> None:
    a = volume.array
    dark = np.where(a > np.percentile(a[len(a) // 2], 30), a.max(), a)  # more than 60 % of the slice are the brightest
    assert not any("0 grey values" in f.text for f in check_image(volume.with_array(dark)).findings)


def test_bias_field_is_recovered(volume: Volume) -> None:
    brain = volume.array > 150
    j = np.linspace(-1, 1, volume.array.shape[1])[:, None]
    planted = 0.25 * j * np.ones(volume.array.shape, np.float32)
    flat = volume.with_array(np.where(brain, 300, 5).astype(np.float32))
    found = log_bias_field(flat.with_array(flat.array * np.exp(planted)), brain, 150.0)
    error = (found - planted)[brain]
    assert np.std(error) < 0.3 * np.std(planted[brain])


def test_white_matter_is_zero_and_hundred_per_robust_sd(volume: Volume) -> None:
    brain = volume.array > 150
    prepared = prepare(volume, brain, brain, PreparationSettings(bias_correction=False))
    values = prepared.normalised.array[brain]
    assert np.median(values) == pytest.approx(0, abs=1e-3)
    assert 1.4826 * np.median(np.abs(values)) == pytest.approx(100, rel=1e-4)
    assert prepared.wm_median == np.median(volume.array[brain])
    scale = np.ptp(values) / np.ptp(volume.array[brain])  # nothing but a shift and a scale without the bias correction
    assert np.ptp(prepared.normalised.array) == pytest.approx(scale * np.ptp(volume.array), rel=1e-5)
    assert prepared.resampled.spacing == (0.5, 0.5, 6.0)
    assert prepared.resampled.array.shape == (24, 396, 360)


def test_other_normalisations_and_a_flat_image(volume: Volume) -> None:
    brain = volume.array > 150
    inside = volume.array[brain]
    for choice, expected in (("brain", (0, 100)), ("none", (inside.mean(), inside.std()))):
        found = prepare(volume, brain, brain, PreparationSettings(False, normalisation=choice)).normalised.array[brain]
        assert (found.mean(), found.std()) == pytest.approx(expected, abs=1e-2)
    with pytest.raises(BadInput, match="flat"):
        prepare(volume.with_array(np.full_like(volume.array, 7)), brain, brain, PreparationSettings(False))


def test_resampling_is_interpolating_and_keeps_places(volume: Volume) -> None:
    fine = resample_in_plane(volume, 0.2)  # 2.0 and 1.8 mm are odd multiples of 0.4 and 0.2: centres coincide
    j = (np.arange(volume.array.shape[1]) * 9) + 4
    rows = fine.array[:, j]
    expected = volume.array.mean()
    assert abs(rows.mean() - expected) < 0.5
    at = np.array([[300, 400, 513], [200, 351, 402]])  # rows and columns of the fine slice
    places = [(at[0] + 0.5) / 9 - 0.5, (at[1] + 0.5) / 10 - 0.5]
    assert np.allclose(fine.array[3][tuple(at)], map_coordinates(volume.array[3], places, mode="mirror"), atol=0.01)
    lps = volume.grid.to_lps(np.array([10.0, 20.0, 3.0]))
    index = fine.grid.to_ijk(lps)
    assert np.allclose(index, [104.5, 184.0, 3.0], atol=1e-6)


def test_masks_resample_by_nearest_neighbour(volume: Volume) -> None:
    brain = volume.array > 150
    prepared = prepare(volume, brain, brain, PreparationSettings(bias_correction=False))
    mask = np.zeros(volume.array.shape, bool)
    mask[4, 50, 40] = True
    area = prepared.resample_mask(mask).sum() * 0.25
    assert area == pytest.approx(2.0 * 1.8, rel=0.15)


def test_other_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="150"):
        PreparationSettings(control_point_mm=50)
    with pytest.raises(BadInput, match="normalisation"):
        PreparationSettings(normalisation="histogram")
    for pixel in (0.09, 2.1):
        with pytest.raises(BadInput, match="in-plane pixel"):
            PreparationSettings(pixel_mm=pixel)
    PreparationSettings(pixel_mm=0.1), PreparationSettings(pixel_mm=2, control_point_mm=150)  # the limits themselves


def test_a_file_is_replaced_whole_and_never_written_over(tmp_path) -> None:
    """Whoever has the old file open, or another name for it, keeps it; a failure in between leaves it too."""
    target, other = tmp_path / "x.json", tmp_path / "other"
    target.write_text("old")
    os.link(target, other)
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("ha")
        raise RuntimeError
    assert target.read_text() == "old"
    write_text("new", target)
    assert (target.read_text(), other.read_text()) == ("new", "old")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "x.json"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_files_are_readable_by_whom_the_user_wants(tmp_path, umask, mode) -> None:
    """A hospital's server may keep patients' files from all other users."""
    code = "import sys; from cnsifusion.imaging import write_text; write_text('x', sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.txt"], check=True, umask=umask)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(("degrees", "level"), [(15, None), (25, "warn"), (40, "refuse")])
def test_a_tilt_beyond_what_was_tried_is_warned_of_or_refused(degrees, level) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    grid = Grid((200, 220, 24), (0.9, 0.9, 5.0), (-90.0, -99.0, -60.0), (1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c))
    array = np.random.default_rng(1).gamma(9.0, 40.0, grid.shape).astype(np.float32)
    levels = {f.level for f in check_image(Volume(array, grid)).findings if f.code == "oblique"}
    assert levels == ({level} if level else set())


def test_small_pixels_are_averaged_where_they_are() -> None:
    array = np.random.default_rng(3).random((3, 7, 9)).astype(np.float32)
    volume = Volume(array, Grid((9, 7, 3), (0.25, 0.3, 2.0), (10.0, -20.0, 5.0), oblique()))
    coarse = volume.averaged(0.5)
    assert coarse.spacing == (0.5, 0.6, 2.0)
    expected = array[:, :6, :8].reshape(3, 3, 2, 4, 2).mean((2, 4))
    np.testing.assert_allclose(coarse.array, expected, rtol=1e-6)
    assert coarse.array.dtype == np.float32
    middle = volume.grid.to_lps(np.array([2.5, 4.5, 1.0]))  # of the four pixels that are the cell (1, 2)
    np.testing.assert_allclose(coarse.grid.to_lps(np.array([1.0, 2.0, 1.0])), middle, atol=1e-9)
    assert volume.averaged(0.25).spacing == (0.25, 0.3, 2.0)
    assert coarse.averaged(0.5) is coarse
