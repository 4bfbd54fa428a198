"""Volume nodes and the engine's volumes: the same voxels, reordered without loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume, read_image
from cnsifusion.imaging.grid import Grid, canonical, canonical_axes, canonical_grid, restore, triple

#: RAS <-> LPS: the first two coordinates change sign.
_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: Attribute with the path an image was read from by :func:`loadVolume`.
SOURCE_ATTRIBUTE = "CNSIFusion.Source"


class NodeGeometry:
    """How the voxels of a volume node and the engine's canonical array correspond.

    ``grid`` is the canonical grid (LPS, world: a linear parent transform is applied), ``nodeShape`` the node's own
    [k, j, i] shape. Raises BadInput for a node without voxels, under a non-linear transform, or sheared by its
    transform.
    """

    def __init__(self, volumeNode):
        if volumeNode is None or volumeNode.GetImageData() is None:
            raise BadInput("The chosen volume holds no image; load it again.")
        ni, nj, nk = (int(n) for n in volumeNode.GetImageData().GetDimensions())
        size = (ni, nj, nk)
        ijkToLps = _RAS_LPS @ worldMatrix(volumeNode) @ ijkToRas(volumeNode)
        spacing = np.linalg.norm(ijkToLps[:3, :3], axis=0)
        self._nodeGrid = Grid(
            size,
            triple(spacing),
            triple(ijkToLps[:3, 3]),
            tuple(float(d) for d in (ijkToLps[:3, :3] / spacing).ravel()),
        )
        self._axes, self._reverse = canonical_axes(self._nodeGrid)
        self.nodeShape = self._nodeGrid.shape
        self.grid = canonical_grid(self._nodeGrid)

    def toCanonical(self, array: np.ndarray) -> np.ndarray:
        """The node's voxels [k, j, i] in the engine's order (a copy)."""
        return canonical(array, self._nodeGrid)

    def toNode(self, array: np.ndarray) -> np.ndarray:
        """The engine's voxels [k, j, i] in the node's order (a copy); inverse of :meth:`toCanonical`."""
        return restore(array, self._nodeGrid)

    def extentToNode(self, origin: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[int, ...]:
        """VTK extent (i0, i1, j0, j1, k0, k1) on the node of a canonical window (origin and shape ordered k, j, i)."""
        extent = [0] * 6
        for axis in range(3):
            source, low = self._axes[axis], origin[2 - axis]
            high = low + shape[2 - axis] - 1
            if self._reverse[axis]:
                low, high = self.grid.size[axis] - 1 - high, self.grid.size[axis] - 1 - low
            extent[2 * source : 2 * source + 2] = [low, high]
        return tuple(extent)

    def originFromNode(self, first: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
        """First canonical voxel of a window of the node that begins at ``first`` with ``shape`` (all k, j, i)."""
        origin = [0, 0, 0]
        for axis in range(3):
            source = 2 - self._axes[axis]
            low = first[source]
            origin[2 - axis] = self.grid.size[axis] - low - shape[source] if self._reverse[axis] else low
        return origin[0], origin[1], origin[2]


def matrixToArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A vtkMatrix4x4 as a 4x4 array."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def ijkToRas(node) -> np.ndarray:
    """4x4 voxel-to-RAS matrix of a volume node, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrixToArray(matrix)


def worldMatrix(node) -> np.ndarray:
    """4x4 RAS-to-world matrix of the transforms above a node; BadInput when one of them is not linear."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise BadInput(
            "The volume or its segmentation is under a non-linear transform; harden the transform "
            "(Transforms module) or take the volume out of it."
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return matrixToArray(matrix)


def checkMovedAlike(segmentationNode, volumeNode) -> None:
    """Raise BadInput where the image was moved without its regions, or they without it."""
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        raise BadInput("The regions and the image are under different transforms; give them the same.")


def voxels(volumeNode) -> np.ndarray:
    """The node's own voxels [k, j, i] without a copy; BadInput for a colour or vector volume."""
    image = volumeNode.GetImageData()
    if image.GetNumberOfScalarComponents() != 1:
        raise BadInput("The chosen volume has several values per voxel (colour or vector); choose the plain T2 series.")
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def volumeFromNode(volumeNode) -> Volume:
    """The node's image as the engine sees it: canonical LPS order, float32, world geometry."""
    geometry = NodeGeometry(volumeNode)
    return Volume(geometry.toCanonical(voxels(volumeNode)).astype(np.float32), geometry.grid)


@dataclass(frozen=True, eq=False)
class SceneImage:
    """Voxels as VTK holds them, on ``grid``: made in any thread, so that only hanging it into a node is left."""

    data: vtk.vtkImageData
    grid: Grid


def sceneImage(volume: Volume) -> SceneImage:
    """A copy of the volume's voxels for a node."""
    data = vtk.vtkImageData()
    data.SetDimensions(volume.grid.size)
    scalars = numpy_to_vtk(np.ascontiguousarray(volume.array).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    data.GetPointData().SetScalars(scalars)
    return SceneImage(data, volume.grid)


def addVolumeNode(scene, volume: Volume, name: str):
    """A new scalar volume node with the volume's voxels and place, shown from dark tissue to the brightest voxels."""
    return addImageNode(scene, sceneImage(volume), name, _readingWindow(volume.array))


def addImageNode(scene, image: SceneImage, name: str, window: tuple[float, float]):
    """A new scalar volume node with these voxels, shown from ``window``'s low to its high."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    setImage(node, image)
    low, high = window
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.AutoWindowLevelOff()  # before the node gets it: finding the window by itself takes 60 ms
    display.SetWindowLevel(max(high - low, 1e-6), (high + low) / 2)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def setImage(volumeNode, image: SceneImage) -> None:
    """Give the node other voxels and their place; how it is displayed stays."""
    wasModifying = volumeNode.StartModify()
    volumeNode.SetIJKToRASMatrix(_toVtk(_gridToRas(image.grid)))
    volumeNode.SetAndObserveImageData(image.data)
    volumeNode.EndModify(wasModifying)


def _readingWindow(array: np.ndarray) -> tuple[float, float]:
    some = array[:, ::4, ::4]
    low, high = np.percentile(some[some > some.min()] if some.max() > some.min() else some, (1, 99.8))
    return float(low), float(high)


def loadVolume(scene, path: Path):
    """Read an image file or DICOM folder with the engine's reader into a new volume node (errors: as read_image)."""
    path = Path(path)
    volume = read_image(path)
    node = addVolumeNode(scene, volume, path.name.split(".")[0] or "T2")
    node.SetAttribute(SOURCE_ATTRIBUTE, str(path.resolve()))
    return node


def _gridToRas(grid: Grid) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = grid.matrix * np.array(grid.spacing)
    matrix[:3, 3] = grid.origin
    return _RAS_LPS @ matrix


def _toVtk(array: np.ndarray) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix
