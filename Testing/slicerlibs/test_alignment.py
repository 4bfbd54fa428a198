"""Which plane of an oblique image a slice view shows."""

from __future__ import annotations

import pytest
import slicer
import vtk

from cnsifusion.mrml.alignment import AXIAL, CORONAL, OBLIQUE, SAGITTAL, viewPlane
from cnsifusion.mrml.volumes import NodeGeometry


def sliceNode(headless, orientation: str, degrees: float = 0.0):
    """A slice node in one of Slicer's standard orientations, turned about its first axis."""
    node = headless.scene.AddNewNodeByClass("vtkMRMLSliceNode", orientation)
    axes = vtk.vtkMatrix3x3()
    getattr(slicer.vtkMRMLSliceNode, f"Get{orientation}SliceToRASMatrix")(axes)
    matrix = vtk.vtkMatrix4x4()
    for row in range(3):
        for column in range(3):
            matrix.SetElement(row, column, axes.GetElement(row, column))
    turn = vtk.vtkTransform()
    turn.SetMatrix(matrix)
    turn.RotateX(degrees)
    node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
    node.UpdateMatrices()
    return node


@pytest.mark.parametrize("axes", [("L", "P", "S"), ("R", "A", "S"), ("P", "I", "R"), ("S", "L", "A")])
def test_views_along_the_volume_are_named_whatever_its_axis_order(headless, makeVolume, axes) -> None:
    volume = makeVolume(axes=axes)
    grid = NodeGeometry(volume).grid
    for orientation, plane in (("Axial", AXIAL), ("Sagittal", SAGITTAL), ("Coronal", CORONAL)):
        node = sliceNode(headless, orientation)
        tilted = orientation != "Sagittal"  # the volume is turned about the left-right axis
        assert viewPlane(node, grid) == (OBLIQUE if tilted else SAGITTAL)
        node.RotateToVolumePlane(volume)
        assert viewPlane(node, grid) == plane


@pytest.mark.parametrize(("degrees", "plane"), [(0.5, AXIAL), (2.0, OBLIQUE)])
def test_small_angles(headless, makeVolume, degrees, plane) -> None:
    volume = makeVolume(tilt=0.0)
    node = sliceNode(headless, "Axial", degrees)
    assert viewPlane(node, NodeGeometry(volume).grid) == plane
