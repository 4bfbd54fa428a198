"""Square pictures around instances for the networks, of a fixed physical size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.fields import misfits
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import Instance

#: Normalised units (hundredths of a white-matter SD) to network units, and the range kept: fat and eyes lie above it.
_UNITS, _LOW, _HIGH = 1000.0, -2.0, 5.0


@dataclass(frozen=True)
class PatchSettings:
    """``size_mm`` is the side of the picture. Right-sided patches are mirrored so that medial is always one way."""

    size_mm: float = 48.0
    mask_channel: bool = True
    mirror_right: bool = True

    def __post_init__(self) -> None:
        if wrong := misfits(self):
            raise BadInput(f"Patches: {'; '.join(wrong)}.")
        if not 8 <= self.size_mm <= 256:
            raise BadInput("The patch size must lie between 8 and 256 mm.")

    def pixels(self, pixel_mm: float) -> int:
        """Side in pixels, a multiple of 8 so that stride-8 feature maps tile it."""
        return max(8, round(self.size_mm / pixel_mm / 8) * 8)

    @property
    def channels(self) -> int:
        """Number of channels: the image, and the mask where it is one."""
        return 2 if self.mask_channel else 1

    def to_dict(self) -> dict:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class PatchPlace:
    """Where a patch came from: rows and columns of its first pixel on the resampled slice, and whether mirrored."""

    row: int
    column: int
    mirrored: bool


def cut_patches(
    case: Case, instances: Sequence[Instance], settings: PatchSettings | None = None
) -> tuple[np.ndarray, list[PatchPlace]]:
    """Patches float32 (n, channels, size, size) centred on the instances' masks, and their places.

    Channel 0 is the normalised image in thousands, clipped to -2..5; channel 1 the mask (0/1). Beyond the image's edge
    a patch repeats the edge pixel.
    """
    settings = settings or PatchSettings()
    size = settings.pixels(case.prepared.settings.pixel_mm)
    image = case.prepared.resampled.array
    patches = np.zeros((len(instances), settings.channels, size, size), np.float32)
    places = []
    for n, instance in enumerate(instances):
        rows, columns = np.nonzero(instance.mask)
        row, column = round((rows.min() + rows.max() - size) / 2), round((columns.min() + columns.max() - size) / 2)
        mirrored = settings.mirror_right and instance.side == "right"
        place = PatchPlace(int(row), int(column), mirrored)
        picture = np.clip(_cut(image[instance.slice_index], row, column, size) / _UNITS, _LOW, _HIGH)
        patches[n, 0] = picture[:, ::-1] if mirrored else picture
        if settings.mask_channel:
            patches[n, 1] = cut_mask(instance.mask, place, size)
        places.append(place)
    return patches, places


def cut_mask(mask: np.ndarray, place: PatchPlace, size: int) -> np.ndarray:
    """A picture of a resampled slice, bool or numbers, on the patch of ``size`` pixels at ``place``; 0 beyond it."""
    cut = _cut(np.pad(mask, 1), place.row + 1, place.column + 1, size)
    return cut[:, ::-1] if place.mirrored else cut


def _cut(picture: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    rows = np.clip(np.arange(row, row + size), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(column, column + size), 0, picture.shape[1] - 1)
    return picture[rows[:, None], columns]
