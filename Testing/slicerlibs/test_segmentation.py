"""Regions in a segmentation node: the same voxels, names, codes and provenance; edits, undo and redo to the bit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import vtk
from regioneditor import RegionEditor
from slicer import vtkMRMLSegmentationNode, vtkMRMLSegmentEditorNode, vtkSegment
from vtk.util.numpy_support import vtk_to_numpy

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.mrml.drawn import milliliters, orientedImage
from cnsifusion.mrml.editing import Change, modifier
from cnsifusion.mrml.segmentation import (
    addSegmentationNode,
    assignSegment,
    ensureSegment,
    fingerprint,
    regionsFromNode,
    regionsInfo,
    segmentIdOf,
    segmentMask,
    showRegions,
    tagValue,
)
from cnsifusion.mrml.volumes import NodeGeometry, voxels
from cnsifusion.roi import region_details
from cnsifusion.roi.names import PVS_LEFT, SEGMENTS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.regions import Focus, Plane, RegionSet

_LABELMAP = "Binary labelmap"


def someRegions(grid):
    """Overlapping regions with everything a RegionSet can carry."""
    masks = {name: np.zeros(grid.shape, bool) for name in (VENTRICLES, SUBLENTIFORM_LEFT, PVS_LEFT)}
    k, j, i = grid.shape
    masks[VENTRICLES][1 : k - 2, 4 : j // 2, 3 : i - 3] = True
    masks[SUBLENTIFORM_LEFT][k // 2, j // 2 : j - 3, 4:12] = True
    masks[PVS_LEFT][k // 2, j // 2 + 2 : j // 2 + 4, 6:8] = True
    parts = masks[VENTRICLES] * np.where(np.arange(k) < k // 2, 3, 1)[:, None, None]
    focus = Focus("left", (6, 12, 4), (1.0, 2.0, 3.0), 1.5, 4.0, 0.8, False, np.argwhere(masks[PVS_LEFT]))
    return RegionSet(
        grid,
        masks,
        parts.astype(np.uint8),
        Plane((0.0, 1.0, 2.0), (1.0, 0.0, 0.0)),
        [focus],
        {VENTRICLES: "automatic", SUBLENTIFORM_LEFT: "imported", PVS_LEFT: "automatic"},
        {SUBLENTIFORM_LEFT},
        {SUBLENTIFORM_RIGHT: "the right lentiform nucleus could not be found"},
        ["“quoted” & <odd> | 100 % note"],
    )


@pytest.fixture
def scene(headless, makeVolume):
    """(headless, volume node, segmentation node with regions, the regions)"""
    volume = makeVolume(axes=("R", "A", "S"))
    regions = someRegions(NodeGeometry(volume).grid)
    node = addSegmentationNode(headless.scene, volume)
    showRegions(regions, node, volume)
    return headless, volume, node, regions


@pytest.mark.parametrize("axes", [("L", "P", "S"), ("R", "A", "S"), ("P", "I", "R"), ("S", "L", "A")], ids="".join)
def test_regions_come_back_as_they_went(headless, makeVolume, axes):
    volume = makeVolume(axes=axes, size=(20, 24, 18))
    regions = someRegions(NodeGeometry(volume).grid)
    node = addSegmentationNode(headless.scene, volume)
    showRegions(regions, node, volume)
    back = regionsFromNode(node, volume)
    assert set(back.masks) == set(regions.masks)
    for name, mask in regions.masks.items():
        assert np.array_equal(back.masks[name], mask), name
    assert np.array_equal(back.parts, regions.parts)
    for field in ("midplane", "origin", "edited", "withheld", "notes"):
        assert getattr(back, field) == getattr(regions, field), field
    assert np.array_equal(back.foci[0].voxels, regions.foci[0].voxels)
    assert back.foci[0].side == "left"


def test_segments_carry_codes_colours_and_provenance(scene):
    _, _, node, _ = scene
    segment = node.GetSegmentation().GetSegment(segmentIdOf(node, PVS_LEFT))
    terms = tagValue(segment, segment.GetTerminologyEntryTagName()).split("~")
    assert terms[2] == "99CNSIFUSION^PVS^PVS-like foci"
    assert terms[3] == "SCT^7771000^Left"
    assert tagValue(segment, "DICOM.SegmentAlgorithmType") == "AUTOMATIC"
    assert segment.GetColor() == pytest.approx(SEGMENTS[PVS_LEFT].color)
    ventricles = node.GetSegmentation().GetSegment(segmentIdOf(node, VENTRICLES))
    assert "SCT^35764002^Brain ventricle" in tagValue(ventricles, ventricles.GetTerminologyEntryTagName())


def test_parts_are_there_but_hidden(scene):
    _, _, node, _ = scene
    partId = segmentIdOf(node, "Fourth ventricle")
    assert partId
    assert not node.GetDisplayNode().GetSegmentVisibility(partId)
    assert node.GetDisplayNode().GetSegmentVisibility(segmentIdOf(node, VENTRICLES))


def test_showing_again_replaces_and_keeps_other_segments(scene):
    _, volume, node, regions = scene
    node.GetSegmentation().AddEmptySegment("mine", "Tumour")
    regions.masks[PVS_LEFT] = np.roll(regions.masks[PVS_LEFT], 2, axis=1)
    showRegions(regions, node, volume)
    names = [node.GetSegmentation().GetSegment(s).GetName() for s in node.GetSegmentation().GetSegmentIDs()]
    assert sorted(names) == sorted({*names})
    assert "Tumour" in names
    assert np.array_equal(regionsFromNode(node, volume).masks[PVS_LEFT], regions.masks[PVS_LEFT])


def test_a_file_of_some_regions_leaves_what_was_known(scene):
    _, volume, node, regions = scene
    ventricles = np.roll(regions.masks[VENTRICLES], 1, axis=2)
    showRegions(RegionSet(regions.grid, {VENTRICLES: ventricles}, notes=["from a file"]), node, volume)
    back = regionsFromNode(node, volume)
    assert np.array_equal(back.masks[VENTRICLES], ventricles)
    assert np.array_equal(back.masks[PVS_LEFT], regions.masks[PVS_LEFT])
    assert back.midplane == regions.midplane and [f.ijk for f in back.foci] == [f.ijk for f in regions.foci]
    assert back.withheld == regions.withheld and back.notes == ["from a file"]
    right = np.roll(regions.masks[SUBLENTIFORM_LEFT], 2, axis=1)
    showRegions(RegionSet(regions.grid, {SUBLENTIFORM_RIGHT: right}), node, volume)
    assert regionsFromNode(node, volume).withheld == {}, "what is drawn is not withheld"
    other = RegionSet(regions.grid, midplane=Plane((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    showRegions(other, node, volume)  # a proposal says all it knows
    back = regionsFromNode(node, volume)
    assert back.midplane == other.midplane and back.foci == []


@pytest.mark.parametrize("text", ['{"version": 1', '{"version": 1, "withheld": [], "notes": 3}', "FAR", "7", '"word"'])
def test_what_a_strangers_scene_says_wrongly_is_one_note(scene, text):
    _, volume, node, regions = scene
    if text == "FAR":  # a focus outside the image
        far = replace(regions.foci[0], ijk=(900, 1, 1))
        text = region_details.to_text(replace(regions, foci=[far]))
    segment = node.GetSegmentation().GetSegment(segmentIdOf(node, VENTRICLES))
    segment.SetTag("CNSIFusion.RegionDetails", text)
    back = regionsFromNode(node, volume)
    assert len(back.notes) == 1 and "propose again" in back.notes[0] and back.foci == []
    assert np.array_equal(back.masks[VENTRICLES], regions.masks[VENTRICLES])
    if "900" not in text:
        assert regionsInfo(node) == ({}, back.notes)


def test_regions_of_another_image_are_refused(scene, makeVolume):
    _, _, node, regions = scene
    with pytest.raises(BadInput, match="another image"):
        showRegions(regions, node, makeVolume(size=(21, 24, 9)))


def test_parts_follow_the_edited_ventricles(scene):
    headless, volume, node, regions = scene
    editor = RegionEditor(headless.scene, node, volume)
    k = regions.grid.shape[0]
    where = (k - 3, regions.grid.shape[1] - 4, 5)
    editor.apply(VENTRICLES, np.ones((1, 2, 2), bool), where)
    back = regionsFromNode(node, volume)
    assert back.parts[where] == 1, "the added voxels belong to the nearest part, the lateral one"
    assert np.array_equal(back.parts > 0, back.masks[VENTRICLES])


def test_a_rotated_segmentation_is_read_where_it_lies(scene):
    headless, volume, node, regions = scene
    transform = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, -2 * 0.6)  # two pixels to the patient's left
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = regionsFromNode(node, volume).masks[SUBLENTIFORM_LEFT]
    assert np.array_equal(moved, np.roll(regions.masks[SUBLENTIFORM_LEFT], 2, axis=2))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    together = regionsFromNode(node, volume).masks[SUBLENTIFORM_LEFT]
    assert np.array_equal(together, regions.masks[SUBLENTIFORM_LEFT])


@pytest.mark.parametrize("shift", [0, 2], ids=["the image's lattice", "an origin two pixels away"])
def test_a_segment_that_reaches_out_of_the_image_is_cut_at_its_edge(scene, shift):
    _, volume, node, _ = scene
    image = orientedImage(np.ones((3, 4, 5)), (-2, 2, -1, 2, -1, 1), volume)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    for row in range(3):
        matrix.SetElement(row, 3, matrix.GetElement(row, 3) + shift * matrix.GetElement(row, 0))
    image.SetImageToWorldMatrix(matrix)
    other = vtkSegment()
    other.AddRepresentation(_LABELMAP, image)
    assert node.GetSegmentation().AddSegment(other, "other")
    geometry = NodeGeometry(volume)
    expected = np.zeros(geometry.nodeShape, bool)
    expected[:2, :3, : 3 + shift] = True
    assert np.array_equal(segmentMask(node, "other", volume), geometry.toCanonical(expected))
    assert milliliters(node, "other") == pytest.approx(60 * 0.6 * 0.7 * 4 / 1000)


def test_of_two_segments_with_one_name_the_first_counts(scene):
    """Slicer lets a copy keep the name; the tools show and edit the first."""
    _, volume, node, regions = scene
    other = vtkSegment()
    other.SetName(VENTRICLES)
    other.AddRepresentation(_LABELMAP, orientedImage(np.ones((1, 2, 2)), (0, 1, 0, 1, 0, 0), volume))
    assert node.GetSegmentation().AddSegment(other, "other")
    assert np.array_equal(regionsFromNode(node, volume).masks[VENTRICLES], regions.masks[VENTRICLES])


def test_assigning_a_readers_segment(scene):
    _, volume, node, _ = scene
    node.GetSegmentation().RemoveSegment(segmentIdOf(node, PVS_LEFT))
    node.GetSegmentation().AddEmptySegment("mine", "Virchow-Robin L")
    assignSegment(node, "mine", PVS_LEFT)
    segment = node.GetSegmentation().GetSegment("mine")
    assert segment.GetName() == PVS_LEFT
    assert tagValue(segment, "CNSIFusion.Origin") == "imported"
    assert PVS_LEFT not in regionsFromNode(node, volume).masks, "empty means not drawn"
    with pytest.raises(BadInput, match="already"):
        assignSegment(node, "mine", VENTRICLES)
    with pytest.raises(BadInput, match="not one of"):
        assignSegment(node, "mine", "Ventricles")


def snapshot(node, volume):
    segmentation = node.GetSegmentation()
    return {
        (segmentation.GetSegment(s).GetName(), tagValue(segmentation.GetSegment(s), "CNSIFusion.Edited")): segmentMask(
            node, s, volume
        ).tobytes()
        for s in segmentation.GetSegmentIDs()
    }


def test_each_action_is_one_step_and_undoing_all_is_bit_equal(scene):
    headless, volume, node, _ = scene
    editor = RegionEditor(headless.scene, node, volume)
    random = np.random.default_rng(7)
    states = [snapshot(node, volume)]
    for _ in range(20):
        name = random.choice([VENTRICLES, PVS_LEFT, SUBLENTIFORM_RIGHT])
        shape = tuple(int(n) for n in random.integers(1, 5, 3))
        origin = tuple(int(random.integers(0, n - s)) for n, s in zip(NodeGeometry(volume).grid.shape, shape))
        mask = random.random(shape) < 0.6
        if editor.apply(str(name), mask, origin, erase=bool(random.random() < 0.4)):
            states.append(snapshot(node, volume))
    for expected in reversed(states[:-1]):
        assert editor.undo()
        assert snapshot(node, volume) == expected
    assert not editor.undo()
    for expected in states[1:]:
        assert editor.redo()
        assert snapshot(node, volume) == expected
    assert not editor.redo()


@pytest.mark.parametrize("overwrite", ["None", "AllSegments"])
def test_a_change_of_voxels_moves_the_time_stamp_of_the_labelmap(scene, overwrite):
    """Slicer's undo history keeps its last copy of what seems older than that: it would forget an edit."""
    headless, volume, node, _ = scene
    editor, random, seen = RegionEditor(headless.scene, node, volume), np.random.default_rng(2), set()
    editor.node.SetOverwriteMode(getattr(vtkMRMLSegmentEditorNode, f"Overwrite{overwrite}"))
    segments = {name: node.GetSegmentation().GetSegment(segmentIdOf(node, name)) for name in (VENTRICLES, PVS_LEFT)}

    def look():
        labelmaps = {name: segment.GetRepresentation(_LABELMAP) for name, segment in segments.items()}
        return {
            name: (labelmap, labelmap.GetMTime(), segmentMask(node, segmentIdOf(node, name), volume))
            for name, labelmap in labelmaps.items()
        }

    for n in range(40):
        editor.logic.SaveStateForUndo()
        before = look()
        editor.applyAll([Change(VENTRICLES, random.random((2, 3, 4)) < 0.5, (2, 5 + n % 3, 6), erase=n % 2 == 0)])
        for name, (labelmap, stamp, voxels_) in look().items():
            if not np.array_equal(voxels_, before[name][2]):
                seen.add((name, labelmap is before[name][0]))
                assert stamp > before[name][1], f"{name} changed, and nobody was told"
    assert (VENTRICLES, True) in seen, "no edit in place was looked at"


def test_an_empty_mask_is_no_step(scene):
    headless, volume, node, _ = scene
    editor = RegionEditor(headless.scene, node, volume)
    assert not editor.apply(VENTRICLES, np.zeros((1, 3, 3), bool), (2, 2, 2))
    assert not editor.undo()


def test_an_edit_marks_the_segment(scene):
    headless, volume, node, _ = scene
    segment = node.GetSegmentation().GetSegment(segmentIdOf(node, VENTRICLES))
    segment.SetTag("DICOM.SegmentAlgorithmName", "another program 1.0")
    RegionEditor(headless.scene, node, volume).apply(VENTRICLES, np.ones((1, 3, 3), bool), (2, 2, 2))
    regions = regionsFromNode(node, volume)
    assert regions.edited == {VENTRICLES, SUBLENTIFORM_LEFT}
    assert regions.origin[VENTRICLES] == "automatic"
    assert tagValue(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert tagValue(segment, "DICOM.SegmentAlgorithmName") == f"CNSIFusion {__version__}"


def test_what_other_tools_change_counts_as_edited_until_it_is_undone(scene):
    """Slicer's own brushes, and what is cut by a region drawn over it, leave none of our marks."""
    headless, volume, node, _ = scene
    editor = RegionEditor(headless.scene, node, volume)
    assert regionsFromNode(node, volume).edited == {SUBLENTIFORM_LEFT}
    editor.node.SetOverwriteMode(vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    editor.apply(SUBLENTIFORM_LEFT, np.ones((1, 3, 3), bool), (2, 5, 4))
    assert regionsFromNode(node, volume).edited == {SUBLENTIFORM_LEFT, VENTRICLES}
    editor.undo()
    assert regionsFromNode(node, volume).edited == {SUBLENTIFORM_LEFT}
    editor.node.SetOverwriteMode(vtkMRMLSegmentEditorNode.OverwriteNone)
    editor.logic.SaveStateForUndo()
    editor._modify(segmentIdOf(node, PVS_LEFT), *brush(editor, (1, 1, 1)))
    assert regionsFromNode(node, volume).edited == {SUBLENTIFORM_LEFT, PVS_LEFT}
    editor.undo()
    assert regionsFromNode(node, volume).edited == {SUBLENTIFORM_LEFT}


def brush(editor, place) -> tuple:
    """One voxel of Slicer's brush: labelmap, erase, extent."""
    labelmap, extent = modifier(np.ones((1, 1, 1), bool), place, editor.volumeNode, editor.geometry)
    return labelmap, False, extent


def wholeModifier(editor, mask, origin):
    """Slicer's own full-size modifier with the same voxels, as a reference for our windowed one."""
    editor.logic.ResetModifierLabelmapToDefault()
    image = editor.logic.GetModifierLabelmap()
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    i0, i1, j0, j1, k0, k1 = editor.geometry.extentToNode(origin, mask.shape)
    array[:] = 0
    array[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = editor.geometry.toNode(mask)
    return image


@pytest.mark.parametrize(
    ("masking", "intensity", "overwrite", "erase"),
    list(itertools.product((False, True), (False, True), ("None", "AllSegments", "VisibleSegments"), (False, True))),
)
def test_slicers_rules_are_honoured_to_the_bit(scene, masking, intensity, overwrite, erase):
    headless, volume, node, regions = scene
    editor = RegionEditor(headless.scene, node, volume)
    editor.node.SetOverwriteMode(getattr(vtkMRMLSegmentEditorNode, f"Overwrite{overwrite}"))
    editor.node.SetSourceVolumeIntensityMask(intensity)
    editor.node.SetSourceVolumeIntensityMaskRange(300, 700)
    if masking:
        editor.node.SetMaskMode(vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        editor.node.SetMaskSegmentID(segmentIdOf(node, VENTRICLES))
    origin, mask = (3, 6, 5), np.random.default_rng(3).random((3, 12, 9)) < 0.7
    before = segmentMask(node, segmentIdOf(node, SUBLENTIFORM_LEFT), volume)
    assert editor.apply(SUBLENTIFORM_LEFT, mask, origin, erase)
    windowed = snapshot(node, volume)
    changed = before ^ segmentMask(node, segmentIdOf(node, SUBLENTIFORM_LEFT), volume)
    editor.undo()
    mode = editor.logic.ModificationModeRemove if erase else editor.logic.ModificationModeAdd
    segmentId = ensureSegment(node, SUBLENTIFORM_LEFT)
    editor.node.SetSelectedSegmentID(segmentId)
    editor.logic.UpdateMaskLabelmap()
    whole = wholeModifier(editor, mask, origin)
    editor.logic.ModifySegmentByLabelmap(node, segmentId, whole, mode, True, False)
    assert {name: array for (name, _), array in snapshot(node, volume).items()} == {
        name: array for (name, _), array in windowed.items()
    }
    if erase and masking:
        return  # Slicer's own rule: what is erased goes back to the segment that masks
    if intensity and changed.any():
        values = editor.geometry.toCanonical(voxels(volume))[changed]
        assert values.min() >= 300
        assert values.max() <= 700
    if masking:
        assert not (changed & ~regions.masks[VENTRICLES]).any()


def test_fingerprint_sees_voxels_alone(scene):
    headless, volume, node, _ = scene
    first = fingerprint(node)
    node.SetName("renamed")
    node.GetDisplayNode().SetOpacity2DFill(0.9)
    assert fingerprint(node) == first
    editor = RegionEditor(headless.scene, node, volume)
    editor.apply(PVS_LEFT, np.ones((1, 1, 1), bool), (1, 1, 1))
    assert fingerprint(node) != first
    editor.undo()
    assert fingerprint(node) == first
