"""An image in memory: voxels in canonical order with their grid and what is known of how they were acquired."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its own convention)

from cnsifusion.imaging.grid import Grid, rounded_origin

#: No head is smaller than this along any axis.
_LEAST_HEAD_MM = 50.0


@dataclass(frozen=True)
class Acquisition:
    """What the file says of the acquisition; None where it does not. Times in ms, field strength in tesla.

    ``acquired_pixel_mm`` is the in-plane pixel of the acquired matrix (before the scanner's interpolation).
    No field names a patient.
    """

    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    field_strength: float | None = None
    contrast_agent: bool | None = None
    acquired_pixel_mm: float | None = None
    patient_age_years: float | None = None


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels ``array`` [k, j, i] (float32 for images) on ``grid``; i, j, k run left, posterior, superior (LPS)."""

    array: np.ndarray
    grid: Grid
    sha256: str = ""
    acquisition: Acquisition = field(default_factory=Acquisition)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing in mm, ordered i, j, k."""
        return self.grid.spacing

    def with_array(self, array: np.ndarray) -> Volume:
        """The same volume with other voxels on the same grid."""
        if array.shape != self.grid.shape:
            raise ValueError(f"array shape {array.shape} does not fit grid {self.grid.shape}")
        return replace(self, array=array)

    def cropped(self, box: tuple[slice, slice, slice]) -> Volume:
        """The voxels ``box`` [k, j, i] alone."""
        return replace(self, array=np.ascontiguousarray(self.array[box]), grid=self.grid.cropped(box))

    def content(self) -> tuple[slice, slice, slice]:
        """The voxels [k, j, i] inside margins of one value, as padding brings; all where no head can be in them."""
        everything = (slice(0, self.array.shape[0]), slice(0, self.array.shape[1]), slice(0, self.array.shape[2]))
        box, before = list(everything), None
        while box != before:  # the margin of one side may have hidden another's
            before = list(box)
            for axis in range(3):
                planes = np.moveaxis(self.array[tuple(box)], axis, 0)
                low, high = (_first_uneven(p) for p in (planes, planes[::-1]))
                if (len(planes) - low - high) * self.spacing[2 - axis] < _LEAST_HEAD_MM:
                    return everything
                box[axis] = slice(box[axis].start + low, box[axis].stop - high)
        return box[0], box[1], box[2]

    def unpadded(self, content: tuple[slice, slice, slice]) -> Volume:
        """The voxels ``content`` alone, their origin rounded as that of the file was before it was padded."""
        inner = self.cropped(content)
        return self if inner.grid.size == self.grid.size else replace(inner, grid=rounded_origin(inner.grid))

    def averaged(self, least_mm: float) -> Volume:
        """The volume with pixels averaged in plane until they measure ``least_mm``; itself where they do already."""
        columns, rows = (math.ceil(round(least_mm / size, 6)) for size in self.spacing[:2])
        if rows == columns == 1:
            return self
        depth, height, width = self.array.shape[0], self.array.shape[1] // rows, self.array.shape[2] // columns
        array = np.zeros((depth, height, width), np.float32)
        for j, i in product(range(rows), range(columns)):  # many times as fast as a mean over two axes
            array += self.array[:, j : height * rows : rows, i : width * columns : columns]
        array /= rows * columns
        spacing = (self.spacing[0] * columns, self.spacing[1] * rows, self.spacing[2])
        return replace(self, array=array, grid=self.grid.resized((width, height, depth), spacing))

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image with the same voxels and geometry (bool becomes uint8)."""
        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.grid.spacing)
        image.SetOrigin(self.grid.origin)
        image.SetDirection(self.grid.direction)
        return image


def _first_uneven(planes: np.ndarray) -> int:
    """How many ``planes`` come before the first that has more than one value."""
    return next((n for n, plane in enumerate(planes) if plane.min() < plane.max()), len(planes))


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3-D SimpleITK image, as stored."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
