"""Volume nodes and the engine see the same voxels at the same places."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
import vtk

from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.mrml.volumes import NodeGeometry, addVolumeNode, loadVolume, volumeFromNode, voxels

AXES = [("L", "P", "S"), ("R", "A", "S"), ("P", "I", "R"), ("S", "L", "A"), ("I", "P", "L")]


def rasOf(node, ijk):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array(matrix.MultiplyPoint((*map(float, ijk), 1.0))[:3])


@pytest.mark.parametrize("axes", AXES, ids="".join)
def test_every_voxel_keeps_its_place(makeVolume, axes):
    node = makeVolume(axes=axes)
    volume, own = volumeFromNode(node), voxels(node)
    for i, j, k in np.random.default_rng(0).integers(0, node.GetImageData().GetDimensions(), (40, 3)):
        lps = rasOf(node, (i, j, k)) * (-1, -1, 1)
        ci, cj, ck = np.rint(volume.grid.to_ijk(lps)).astype(int)
        assert volume.array[ck, cj, ci] == own[k, j, i]
        assert np.abs(volume.grid.to_lps((ci, cj, ck)) - lps).max() < 0.05


@pytest.mark.parametrize("axes", AXES, ids="".join)
def test_reordering_is_lossless_both_ways(makeVolume, axes):
    node = makeVolume(axes=axes)
    geometry = NodeGeometry(node)
    assert np.array_equal(geometry.toNode(geometry.toCanonical(voxels(node))), voxels(node))


@pytest.mark.parametrize("axes", AXES, ids="".join)
def test_a_windows_extent_lies_where_its_voxels_do(makeVolume, axes):
    node = makeVolume(axes=axes)
    geometry = NodeGeometry(node)
    mask = np.zeros(geometry.grid.shape, bool)
    origin, shape = tuple(n // 3 for n in mask.shape), tuple(max(n // 4, 1) for n in mask.shape)
    mask[tuple(slice(o, o + s) for o, s in zip(origin, shape))] = True
    i0, i1, j0, j1, k0, k1 = geometry.extentToNode(origin, shape)
    own = np.zeros(geometry.nodeShape, bool)
    own[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = True
    assert np.array_equal(geometry.toNode(mask), own)


@pytest.mark.real
@pytest.mark.parametrize("name", ["oms_patient01_study1/T2w.nii.gz", "synA_normal/synA_normal_T2w.nii.gz"])
def test_slicers_reader_and_ours_agree_to_the_bit(headless, realData, name):
    mine, slicers = read_image(realData / name), volumeFromNode(headless.loadVolume(realData / name))
    assert mine.grid == slicers.grid
    assert np.array_equal(mine.array, slicers.array)


def test_a_node_made_of_a_volume_gives_it_back(headless, makeVolume):
    volume = volumeFromNode(makeVolume(axes=("P", "I", "R")))
    again = volumeFromNode(addVolumeNode(headless.scene, volume, "again"))
    assert again.grid == volume.grid
    assert np.array_equal(again.array, volume.array)


def test_load_a_file(headless, makeVolume, tmp_path):
    volume = volumeFromNode(makeVolume())
    sitk.WriteImage(volume.to_sitk(), str(tmp_path / "head.nrrd"))
    node = loadVolume(headless.scene, tmp_path / "head.nrrd")
    assert node.GetName() == "head"
    assert np.array_equal(volumeFromNode(node).array, volume.array)


def test_a_rotation_above_the_volume_moves_it(headless, makeVolume):
    node = makeVolume(axes=("R", "A", "S"), tilt=0.0)
    transform = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    c, s = math.cos(0.3), math.sin(0.3)
    matrix.DeepCopy((c, -s, 0, 10, s, c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    geometry = NodeGeometry(node)
    world = np.array(matrix.MultiplyPoint((*rasOf(node, (3, 4, 5)), 1.0))[:3]) * (-1, -1, 1)
    mask = np.zeros(geometry.nodeShape, bool)
    mask[5, 4, 3] = True
    (k, j, i) = np.argwhere(geometry.toCanonical(mask))[0]
    assert np.abs(geometry.grid.to_lps((i, j, k)) - world).max() < 0.05


def test_a_shear_and_a_warp_above_the_volume_are_refused(headless, makeVolume):
    node = makeVolume()
    shear = headless.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy((1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))
    shear.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(shear.GetID())
    with pytest.raises(BadInput, match="right angles"):
        NodeGeometry(node)
    warp = headless.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    warp.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(BadInput, match="non-linear"):
        NodeGeometry(node)


def test_colour_and_empty_volumes_are_refused(headless):
    empty = headless.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    with pytest.raises(BadInput, match="no image"):
        NodeGeometry(empty)
    colour = headless.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(image)
    with pytest.raises(BadInput, match="several values"):
        volumeFromNode(colour)
