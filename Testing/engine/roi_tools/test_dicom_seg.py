"""DICOM SEG objects written by highdicom, read by our plain pydicom reader."""

import datetime
import sys
from pathlib import Path

import numpy as np
import pytest

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume
from cnsifusion.imaging.read import MAX_VOXELS
from cnsifusion.roi.dicom_seg import read_dicom_seg
from cnsifusion.roi.names import PVS_LEFT, SEGMENTS, SUBLENTIFORM_LEFT, VENTRICLES
from cnsifusion.roi.region_io import read_regions, stored_segments

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import data_sets, no_preamble  # helpers of the imaging tests

from .test_region_io import oblique_grid, regions_of

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")


def series(grid):
    """Source headers, one per slice, of an MR series on ``grid``."""
    headers = []
    for k in range(grid.size[2]):
        header = pydicom.Dataset()
        header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{k + 1}"
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        header.PatientID, header.PatientName, header.PatientBirthDate, header.PatientSex = "x", "x", "", "O"
        header.StudyID, header.AccessionNumber, header.StudyDate, header.StudyTime = "1", "", "20260101", "000000"
        header.ReferringPhysicianName, header.Modality, header.SeriesNumber, header.InstanceNumber = "", "MR", 1, k + 1
        header.Rows, header.Columns, header.PixelSpacing = grid.size[1], grid.size[0], list(grid.spacing[1::-1])
        header.SliceThickness = header.SpacingBetweenSlices = grid.spacing[2]
        header.ImageOrientationPatient = [*grid.matrix[:, 0], *grid.matrix[:, 1]]
        header.ImagePositionPatient = list(grid.to_lps(np.array([0, 0, k])))
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        headers.append(header)
    return headers


def segmentation(volume, masks, labels, kind, omit_empty=True):
    descriptions = []
    for number, (name, label) in enumerate(zip(masks, labels), 1):
        code = SEGMENTS[name]
        description = highdicom.seg.SegmentDescription(
            number, label, highdicom.sr.CodedConcept(*vars(code.category).values()),
            highdicom.sr.CodedConcept(*vars(code.type).values()), "SEMIAUTOMATIC",
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                "t", highdicom.sr.CodedConcept("123109", "DCM", "Manual Processing"), "1"),
        )  # fmt: skip
        if code.side_code:
            side = highdicom.sr.CodedConcept(*vars(code.side_code).values())
            description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
        descriptions.append(description)
    stack = np.stack(list(masks.values()), axis=-1)
    pixels = np.where(stack, 0.55, 0.45).astype(np.float32) if kind == "FRACTIONAL" else stack.astype(np.uint8)
    return highdicom.seg.Segmentation(
        series(volume.grid), pixels, kind, descriptions, "1.2.7", 2, "1.2.8", 1, "m", "m", "1", "1",
        omit_empty_frames=omit_empty, content_date=datetime.date(2026, 1, 1),
    )  # fmt: skip


@pytest.fixture
def volume():
    grid = oblique_grid()
    return Volume(np.zeros(grid.shape, np.float32), grid)


@pytest.mark.parametrize("left", [no_preamble, data_sets])
def test_an_object_without_its_preamble_or_meta_header_is_read(tmp_path, volume, left):
    masks = {VENTRICLES: regions_of(volume).masks[VENTRICLES]}
    segmentation(volume, masks, ["a"], "BINARY").save_as(tmp_path / "seg.dcm")
    left([tmp_path / "seg.dcm"])
    assert np.array_equal(read_regions(tmp_path / "seg.dcm", volume).masks[VENTRICLES], masks[VENTRICLES])


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_masks_come_back_bit_equal_by_code(tmp_path, volume, kind):
    masks = {n: m for n, m in regions_of(volume).masks.items() if n in (VENTRICLES, SUBLENTIFORM_LEFT, PVS_LEFT)}
    if kind == "LABELMAP":  # its segments cannot overlap
        masks[SUBLENTIFORM_LEFT] = masks[SUBLENTIFORM_LEFT] & ~masks[PVS_LEFT] & ~masks[VENTRICLES]
    segmentation(volume, masks, ["a", "b", "c"], kind).save_as(tmp_path / "seg.dcm")
    for path in (tmp_path / "seg.dcm", tmp_path):
        regions = read_regions(path, volume)
        assert set(regions.masks) == set(masks)
        for name, mask in masks.items():
            np.testing.assert_array_equal(regions.masks[name], mask)
    assert regions.origin == dict.fromkeys(masks, "semiautomatic")
    assert stored_segments(tmp_path / "seg.dcm", volume)[0] == ("a", int(masks[VENTRICLES].sum()), VENTRICLES, True)
    assert set(read_regions(tmp_path / "seg.dcm", volume, {"c": VENTRICLES, "a": PVS_LEFT}).masks) == {
        VENTRICLES, PVS_LEFT, SUBLENTIFORM_LEFT}  # fmt: skip


def test_sparse_frames_without_stated_spacing_use_the_images(tmp_path, volume):
    masks = {PVS_LEFT: regions_of(volume).masks[PVS_LEFT]}  # on slices 4 and 6 only
    dataset = segmentation(volume, masks, ["a"], "BINARY")
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    dataset.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_regions(tmp_path / "seg.dcm", volume).masks[PVS_LEFT], masks[PVS_LEFT])
    other = volume.grid.resized(volume.grid.size, (0.6, 0.7, 5.0))  # an image that the frames do not fit
    masks[PVS_LEFT][5] = masks[PVS_LEFT][9] = True
    dataset = segmentation(volume, masks, ["a"], "BINARY")
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)
    dataset.save_as(tmp_path / "other.dcm")
    (stored,) = read_dicom_seg(tmp_path / "other.dcm", other)  # slices 4, 5, 6 and 9
    assert stored.grid.size[2] == 6 and stored.grid.spacing[2] == pytest.approx(4.4)


def test_a_segmentation_of_one_slice(tmp_path, volume):
    mask = np.zeros(volume.grid.shape, bool)
    mask[7, 3:9, 20:30] = True
    segmentation(volume, {VENTRICLES: mask}, ["a"], "BINARY").save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_regions(tmp_path / "seg.dcm", volume).masks[VENTRICLES], mask)


def test_not_a_segmentation_or_damaged(tmp_path, volume):
    (tmp_path / "a.dcm").write_bytes(b"no dicom")
    with pytest.raises(BadInput, match="no DICOM segmentation"):
        read_regions(tmp_path / "a.dcm", volume)
    dataset = segmentation(volume, {VENTRICLES: regions_of(volume).masks[VENTRICLES]}, ["a"], "BINARY")
    place = dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    here = np.array(place.ImagePositionPatient, float)
    normal = volume.grid.matrix[:, 2]
    far = volume.grid.spacing[2] * (MAX_VOXELS // (40 * 36) + 1)
    for name, moved in (("far", far * normal), ("between", 2 * normal)):
        place.ImagePositionPatient = [round(float(v), 4) for v in here + moved]
        dataset.save_as(tmp_path / name)
        with pytest.raises(BadInput, match="damaged or of a kind"):
            read_regions(tmp_path / name, volume)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(tmp_path / "b.dcm")
    with pytest.raises(BadInput, match="damaged or of a kind"):
        read_regions(tmp_path / "b.dcm", volume)
