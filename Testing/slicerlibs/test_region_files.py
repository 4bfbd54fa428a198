"""Region files against Slicer's own library: it reads ours, and we read what it writes."""

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from cnsifusion.imaging import Volume, write_volume  # noqa: E402
from cnsifusion.imaging.grid import Grid, snap  # noqa: E402
from cnsifusion.mrml.drawn import orientedImage, segmentIdOf  # noqa: E402
from cnsifusion.mrml.importing import LEAVE_OUT, labelsToAssign  # noqa: E402
from cnsifusion.mrml.segmentation import (  # noqa: E402
    addSegmentationNode,
    assignSegment,
    regionsFromNode,
    showRegions,
    tagValue,
)
from cnsifusion.mrml.volumes import addVolumeNode, volumeFromNode  # noqa: E402
from cnsifusion.roi import region_details  # noqa: E402
from cnsifusion.roi.names import PVS_LEFT, SEGMENTS, SUBLENTIFORM_LEFT, VENTRICLES  # noqa: E402
from cnsifusion.roi.region_io import read_regions, write_regions  # noqa: E402
from cnsifusion.roi.regions import RegionSet  # noqa: E402

_LABELMAP = "Binary labelmap"


def head():
    c, s = np.cos(0.2), np.sin(0.2)
    grid = snap(Grid((30, 24, 9), (0.6, 0.7, 4.4), (-12.3, 20.5, 33.2), (c, -s, 0, s, c, 0, 0, 0, 1)))
    return Volume(np.zeros(grid.shape, np.float32), grid)


def regions_of(volume):
    masks = {name: np.zeros(volume.grid.shape, bool) for name in (VENTRICLES, SUBLENTIFORM_LEFT, PVS_LEFT)}
    masks[VENTRICLES][2:6, 4:12, 8:20] = True
    masks[SUBLENTIFORM_LEFT][3:5, 14:20, 18:26] = True
    masks[PVS_LEFT][3, 15:17, 20:22] = True  # inside the sub-lentiform region: needs a layer of its own
    parts = np.where(masks[VENTRICLES], 1, 0).astype(np.uint8)
    parts[2][masks[VENTRICLES][2]] = 3
    return RegionSet(volume.grid, masks, parts, origin=dict.fromkeys(masks, "automatic"), edited={PVS_LEFT})


@pytest.mark.parametrize(
    ("origin", "edited", "algorithm"),
    [
        ("", False, "AUTOMATIC"), ("automatic", False, "AUTOMATIC"), ("automatic", True, "SEMIAUTOMATIC"),
        ("semiautomatic", True, "SEMIAUTOMATIC"),
        ("manual", False, "MANUAL"), ("manual", True, "MANUAL"), ("imported", True, ""),
    ],
)  # fmt: skip
def test_who_drew_a_region_is_shown_and_kept(headless, origin, edited, algorithm):
    volume, name = head(), SUBLENTIFORM_LEFT
    masks = {name: regions_of(volume).masks[name]}
    volumeNode = addVolumeNode(headless.scene, volume, "T2")
    node = addSegmentationNode(headless.scene, volumeNode)
    regions = RegionSet(volume.grid, masks, origin={name: origin} if origin else {}, edited={name} if edited else set())
    showRegions(regions, node, volumeNode)
    segment = node.GetSegmentation().GetSegment(segmentIdOf(node, name))
    assert tagValue(segment, "DICOM.SegmentAlgorithmType") == algorithm
    node.GetSegmentation().AddEmptySegment("mine", VENTRICLES)  # drawn in Slicer: of no program's making, so not edited
    drawn = orientedImage(np.ones((2, 2, 2)), (3, 4, 3, 4, 3, 4), volumeNode)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(drawn, node, "mine")
    found = regionsFromNode(node, volumeNode)
    assert found.origin == {name: origin or "automatic", VENTRICLES: "manual"}
    assert found.edited == ({name} if edited else set())


def test_a_segment_that_gets_a_regions_name_keeps_who_drew_it(headless):
    volume = head()
    volumeNode = addVolumeNode(headless.scene, volume, "T2")
    node = addSegmentationNode(headless.scene, volumeNode)
    masks = {SUBLENTIFORM_LEFT: regions_of(volume).masks[SUBLENTIFORM_LEFT]}
    showRegions(RegionSet(volume.grid, masks, origin={SUBLENTIFORM_LEFT: "automatic"}), node, volumeNode)
    ours = segmentIdOf(node, SUBLENTIFORM_LEFT)
    node.GetSegmentation().GetSegment(ours).SetName("left one")
    node.GetSegmentation().AddEmptySegment("mine", "ventricle")
    draw = slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment
    draw(orientedImage(np.ones((2, 2, 2)), (3, 4, 3, 4, 3, 4), volumeNode), node, "mine")
    assignSegment(node, ours, SUBLENTIFORM_LEFT)
    assignSegment(node, "mine", VENTRICLES)
    found = regionsFromNode(node, volumeNode)
    assert found.origin == {SUBLENTIFORM_LEFT: "automatic", VENTRICLES: "imported"} and found.edited == set()
    draw(orientedImage(np.ones((2, 2, 2)), (5, 6, 3, 4, 3, 4), volumeNode), node, "mine")
    assert regionsFromNode(node, volumeNode).edited == {VENTRICLES}


def test_a_region_outside_the_image_is_none_of_it(headless):
    """Drawn on another image, or moved away: it holds voxels, and none of them lies here."""
    volume, name = head(), SUBLENTIFORM_LEFT
    volumeNode = addVolumeNode(headless.scene, volume, "T2")
    node = addSegmentationNode(headless.scene, volumeNode)
    masks = {VENTRICLES: regions_of(volume).masks[VENTRICLES]}
    showRegions(RegionSet(volume.grid, masks, withheld={name: "not found"}), node, volumeNode)
    node.GetSegmentation().AddEmptySegment("mine", name)
    node.GetSegmentation().GetSegment("mine").SetTag("CNSIFusion.Edited", "1")
    for column, drawn in ((90, set()), (3, {name})):
        image = orientedImage(np.ones((2, 2, 2)), (column, column + 1, 3, 4, 3, 4), volumeNode)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, "mine")
        found = regionsFromNode(node, volumeNode)
        assert set(found.masks) == set(found.origin) == {VENTRICLES} | drawn and found.edited == drawn
        assert found.withheld == ({} if drawn else {name: "not found"})


def test_what_a_segment_says_of_itself_goes_with_it(headless):
    """Stored with the others too, it would be said of another one that is drawn in its place."""
    volume = head()
    volumeNode = addVolumeNode(headless.scene, volume, "T2")
    node = addSegmentationNode(headless.scene, volumeNode)
    showRegions(regions_of(volume), node, volumeNode)
    segmentation = node.GetSegmentation()
    for name in (VENTRICLES, SUBLENTIFORM_LEFT):
        kept = tagValue(segmentation.GetSegment(segmentIdOf(node, name)), "CNSIFusion.RegionDetails")
        details = region_details.from_text(kept)
        assert (details["parts"], details["origin"], details["edited"]) == (False, {}, [])
    segmentation.RemoveSegment(segmentIdOf(node, PVS_LEFT))
    segmentation.AddEmptySegment("mine", PVS_LEFT)
    image = orientedImage(np.ones((2, 2, 2)), (3, 4, 3, 4, 3, 4), volumeNode)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, "mine")
    found = regionsFromNode(node, volumeNode)
    assert found.origin[PVS_LEFT] == "manual" and found.edited == set()


def segmentation_node(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    return node


def storage(scene, path):
    node = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    node.SetFileName(str(path))
    return node


def mask_of(node, segment_id, grid):
    """The segment's voxels as Slicer sees them, placed on ``grid`` by their world positions."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_ras = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    kji = np.argwhere(array > 0)
    ijk = kji[:, ::-1] + np.array(image.GetExtent())[[0, 2, 4]]
    lps = (np.c_[ijk, np.ones(len(ijk))] @ to_ras.T)[:, :3] * (-1, -1, 1)
    where = grid.to_ijk(lps)
    assert np.abs(where - np.round(where)).max() < 1e-2
    mask = np.zeros(grid.shape, bool)
    mask[tuple(np.round(where).astype(int)[:, ::-1].T)] = True
    return mask


def test_slicer_reads_our_file_and_we_read_it_back_after_slicer_saved_it(tmp_path):
    volume, scene = head(), slicer.vtkMRMLScene()
    regions = regions_of(volume)
    write_regions(regions, tmp_path / "ours.seg.nrrd")
    node = segmentation_node(scene)
    assert storage(scene, tmp_path / "ours.seg.nrrd").ReadData(node)
    segments = node.GetSegmentation()
    ids = {segments.GetSegment(i).GetName(): i for i in segments.GetSegmentIDs()}
    assert set(ids) == {*regions.masks, "Lateral ventricles", "Third ventricle", "Fourth ventricle"}
    for name, mask in regions.masks.items():
        segment = segments.GetSegment(ids[name])
        np.testing.assert_array_equal(mask_of(node, ids[name], volume.grid), mask)
        assert segment.GetColor() == pytest.approx(SEGMENTS[name].color, abs=1e-5)
        terminology = segment.GetTerminology()
        assert SEGMENTS[name].type.value in terminology and SEGMENTS[name].category.value in terminology
        side = SEGMENTS[name].side_code
        assert side is None or f"~{side.scheme}^{side.value}^{side.meaning}~" in terminology
    np.testing.assert_array_equal(mask_of(node, ids["Fourth ventricle"], volume.grid), regions.parts == 3)

    assert storage(scene, tmp_path / "slicer.seg.nrrd").WriteData(node)
    back = read_regions(tmp_path / "slicer.seg.nrrd", volume)
    for name, mask in regions.masks.items():
        np.testing.assert_array_equal(back.masks[name], mask)
    np.testing.assert_array_equal(back.parts, regions.parts)
    assert back.origin == regions.origin and back.edited == regions.edited


def test_numbers_of_another_program_are_not_taken_for_ours(headless, makeVolume, tmp_path):
    """FreeSurfer's 4 is a lateral ventricle; "PVS left" was offered for it."""
    node = makeVolume()
    volume = volumeFromNode(node)
    for values, guesses in (((1, 4), [VENTRICLES, PVS_LEFT]), ((1, 4, 43), [LEAVE_OUT] * 3)):
        labels = np.zeros(volume.grid.shape, np.float32)
        for k, value in enumerate(values):
            labels[k, 1:3, 1:3] = value
        write_volume(volume.with_array(labels), tmp_path / "labels.nii.gz")
        assert [label.region for label in labelsToAssign(tmp_path / "labels.nii.gz", node)] == guesses


def test_one_stranger_among_named_labels_is_asked_about(headless, makeVolume, tmp_path):
    node = makeVolume()
    volume = volumeFromNode(node)
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[1, 1:3, 1:3], labels[2, 1:3, 1:4] = 1, 2
    for stranger, asked in (("tumour", [(VENTRICLES, 4, VENTRICLES), ("tumour", 6, LEAVE_OUT)]), (PVS_LEFT, [])):
        image = Volume(labels, volume.grid).to_sitk()
        for n, name in enumerate((VENTRICLES, stranger)):
            for key, value in (("Name", name), ("LabelValue", str(n + 1)), ("Layer", "0")):
                image.SetMetaData(f"Segment{n}_{key}", value)
        sitk.WriteImage(image, str(tmp_path / "mixed.seg.nrrd"))
        found = labelsToAssign(tmp_path / "mixed.seg.nrrd", node)
        assert [(label.name, label.voxels, label.region) for label in found] == asked


def test_foreign_segments_of_slicer_are_assigned(tmp_path):
    volume, scene = head(), slicer.vtkMRMLScene()
    mask = regions_of(volume).masks[VENTRICLES]
    node = segmentation_node(scene)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*volume.grid.size)
    image.SetSpacing(*volume.grid.spacing)
    image.SetOrigin(*(np.array(volume.grid.origin) * (-1, -1, 1)))
    image.SetDirections((volume.grid.matrix * np.array([[-1], [-1], [1]])).tolist())
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = mask.ravel()
    segment = slicer.vtkSegment()
    segment.SetName("Segment_1")
    segment.AddRepresentation(_LABELMAP, image)
    node.GetSegmentation().AddSegment(segment, "s1")
    assert storage(scene, tmp_path / "s.seg.nrrd").WriteData(node)  # Slicer crops to the segment
    regions = read_regions(tmp_path / "s.seg.nrrd", volume, {"Segment_1": VENTRICLES})
    np.testing.assert_array_equal(regions.masks[VENTRICLES], mask)
    assert regions.origin == {VENTRICLES: "imported"} and not regions.notes
