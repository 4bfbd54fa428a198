"""The protocol's preparation, shared by radiomics and networks: bias field, white-matter normalisation, resampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import map_coordinates

from cnsifusion.errors import BadInput
from cnsifusion.fields import misfits
from cnsifusion.imaging.volume import Volume

#: Normalised intensities are in hundredths of a robust SD of deep white matter: whole numbers carry the precision.
SCALE = 100.0
_MAD_TO_SD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class PreparationSettings:
    """Every choice of the preparation.

    ``normalisation`` is ``white-matter`` (default), ``brain`` (z-score in the brain) or ``none``; the latter two are
    sensitivity rows. ``control_point_mm`` is the spacing of N4's B-spline, never below 150 mm, so that disease of the
    regions cannot be corrected away. ``pixel_mm`` is the in-plane pixel after resampling.
    """

    bias_correction: bool = True
    control_point_mm: float = 150.0
    normalisation: str = "white-matter"
    pixel_mm: float = 0.5

    def __post_init__(self) -> None:
        if wrong := misfits(self):
            raise BadInput(f"Preparation: {'; '.join(wrong)}.")
        if self.normalisation not in ("white-matter", "brain", "none"):
            raise BadInput(f"Unknown normalisation '{self.normalisation}'; use white-matter, brain or none.")
        if self.control_point_mm < 150:
            raise BadInput("N4's control points must be at least 150 mm apart, or it removes the effect we look for.")
        if not 0.1 <= self.pixel_mm <= 2:
            raise BadInput("The in-plane pixel must lie between 0.1 and 2 mm.")

    def to_dict(self) -> dict:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A head ready for features: ``normalised`` on its own grid, ``resampled`` with square pixels in plane.

    Only the rows and columns ``window`` of ``normalised``, all but padding, are resampled. ``wm_median`` is the median
    of deep white matter in the image's units.
    """

    normalised: Volume
    resampled: Volume
    window: tuple[slice, slice]
    wm_median: float
    settings: PreparationSettings

    def resample_mask(self, mask: np.ndarray) -> np.ndarray:
        """A bool mask [k, j, i] on the image's grid, by nearest neighbour on the resampled grid."""
        mask = mask[(slice(None), *self.window)]
        j = _nearest(self.resampled.grid.shape[1], mask.shape[1], self._ratio(1))
        i = _nearest(self.resampled.grid.shape[2], mask.shape[2], self._ratio(0))
        return mask[:, j][:, :, i]

    def _ratio(self, axis: int) -> float:
        return self.resampled.spacing[axis] / self.normalised.spacing[axis]


def prepare(
    volume: Volume, brain: np.ndarray, white_matter: np.ndarray, settings: PreparationSettings | None = None
) -> Prepared:
    """Bias-correct, normalise and resample ``volume``; ``brain`` and ``white_matter`` are bool masks on its grid.

    Normalised intensity = 100 (I - median) / (1.4826 MAD) over deep white matter. Raises BadInput when the white
    matter is missing or flat. Padding changes nothing in the head.
    """
    settings = settings or PreparationSettings()
    corrected, box = volume.array, volume.content()
    if settings.bias_correction:
        field = log_bias_field(volume.unpadded(box), brain[box], settings.control_point_mm)
        corrected = corrected.copy()
        corrected[box] /= np.exp(field)
    values = corrected[white_matter]
    if values.size < 500:
        raise BadInput("Too little white matter was found to normalise the image; is it a whole axial T2 brain?")
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    center, spread = median, _MAD_TO_SD * mad
    if settings.normalisation == "brain":
        center, spread = float(corrected[brain].mean()), float(corrected[brain].std())
    elif settings.normalisation == "none":
        center, spread = 0.0, SCALE
    if not np.isfinite(spread) or spread <= 0:
        raise BadInput("The white matter is flat (all voxels equal); the image was thresholded or filtered.")
    normalised = volume.with_array(((corrected - center) * (SCALE / spread)).astype(np.float32))
    seen = normalised.cropped((slice(0, volume.grid.size[2]), *box[1:]))
    return Prepared(normalised, resample_in_plane(seen, settings.pixel_mm), box[1:], median, settings)


def log_bias_field(volume: Volume, brain: np.ndarray, control_point_mm: float) -> np.ndarray:
    """Natural logarithm of the coil's bias field on the volume's grid (float32), zero in the brain's median.

    N4 (Tustison et al., IEEE TMI 2010;29:1310) on a copy of about 6 mm voxels: with control points 150 mm apart the
    field is so smooth that a finer copy changes it by less than N4's own tolerance. The field is evaluated on that
    copy and carried to the full grid by cubic splines.
    """
    factor = [max(1, int(6.0 / s)) for s in volume.spacing]
    # N4 works on the logarithm: a floor keeps the signal void of air finite without touching tissue.
    floor = max(float(np.percentile(volume.array[brain], 0.1)), 1e-6)
    small = sitk.Shrink(sitk.Maximum(volume.to_sitk(), floor), factor)
    small_mask = sitk.Shrink(volume.with_array(brain & (volume.array > floor)).to_sitk(), factor)
    extent = np.array(small.GetSize()) * small.GetSpacing()
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfControlPoints([int(np.ceil(e / control_point_mm)) + 3 for e in extent])
    n4.SetMaximumNumberOfIterations([25, 15])
    n4.SetConvergenceThreshold(1e-4)
    with single_thread():
        n4.Execute(small, small_mask)
        coarse = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(small)).astype(np.float32)
    offset = np.array(small.GetOrigin()) - volume.grid.origin
    first = offset @ volume.grid.matrix / volume.spacing  # position of the first coarse voxel, in full voxels i, j, k
    field = coarse
    for axis in range(3):
        ijk = 2 - axis
        positions = (np.arange(volume.array.shape[axis]) - first[ijk]) / factor[ijk]
        matrix = _spline_matrix(tuple(positions), coarse.shape[axis])
        field = np.moveaxis(np.tensordot(matrix, field, (1, axis)), 0, axis)
    return field - float(np.median(field[brain]))


@contextmanager
def single_thread() -> Iterator[None]:
    """ITK on one thread: parallel sums depend on the number of cores, single-threaded ones give the same bits anywhere.

    Only this global setting reaches a filter's inner filters.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def resample_in_plane(volume: Volume, pixel_mm: float) -> Volume:
    """``volume`` with square pixels of ``pixel_mm`` by interpolating cubic B-splines; slices stay where they are."""
    nk, nj, ni = volume.array.shape
    si, sj, sk = volume.spacing
    size_i, size_j = max(1, int(ni * si / pixel_mm)), max(1, int(nj * sj / pixel_mm))
    rows = _spline_matrix(_centres(size_j, pixel_mm / sj), nj)
    columns = _spline_matrix(_centres(size_i, pixel_mm / si), ni)
    array = np.matmul(np.matmul(rows, volume.array), columns.T)
    grid = volume.grid.resized((size_i, size_j, nk), (pixel_mm, pixel_mm, sk))
    return Volume(array, grid, volume.sha256, volume.acquisition)


def _centres(new_size: int, ratio: float) -> tuple[float, ...]:
    """Where new pixel centres lie on the old axis, in old pixels, when both start at the same outer edge."""
    return tuple((np.arange(new_size) + 0.5) * ratio - 0.5)


@lru_cache(maxsize=16)
def _spline_matrix(positions: tuple[float, ...], size: int) -> np.ndarray:
    """The matrix (len(positions), size), float32, of 1-D cubic spline interpolation, mirrored at the ends."""
    rows, columns = np.meshgrid(np.clip(positions, 0, size - 1), np.arange(size), indexing="ij")
    # Spline along the first axis of an identity; the second axis only carries the unit vectors (integer positions).
    return map_coordinates(np.eye(size), [rows, columns], order=3, mode="mirror").astype(np.float32)


def _nearest(new_size: int, size: int, ratio: float) -> np.ndarray:
    return np.clip(np.round(_centres(new_size, ratio)), 0, size - 1).astype(int)
