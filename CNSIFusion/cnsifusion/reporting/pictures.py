"""The report's key images: the strongest slices with contours and maps.

Left of the patient is on the right of the picture (radiological convention).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import minimum_filter

from cnsifusion.analysis import PatientResult
from cnsifusion.imaging import Volume
from cnsifusion.roi.names import REGIONS, SEGMENTS
from cnsifusion.roi.regions import RegionSet

_MAX_KEY_SLICES = 4
_TILE, _GAP, _TITLE = 338, 4, 32  # pixels
_HEAT_FROM, _HEAT_OPACITY = 0.15, 0.55
#: Ten even steps of the perceptually uniform colour map "inferno" (van der Walt and Smith, 2015).
_INFERNO = ("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4")

#: Least half width and height of what a tile shows.
_HALF_X_MM, _HALF_Y_MM = 50.0, 34.0

Window = tuple[float, float, float, float]


def key_slices(result: PatientResult) -> list[int]:
    """Slice indices to show: those of the strongest instances, in slice order."""
    ranked = sorted(result.instances, key=lambda i: -i.log_odds)
    chosen = list(dict.fromkeys(i.slice_index for i in ranked))
    return sorted(chosen[:_MAX_KEY_SLICES])


def key_images(result: PatientResult, volume: Volume, regions: RegionSet, maps: Sequence[Volume]) -> bytes:
    """One column per key slice: above the T2 with contours, below it each of the ``maps`` over it. A PNG (RGB)."""
    slices = key_slices(result)
    window = _window(volume, [regions.masks[n] for n in REGIONS[result.region] if n in regions.masks], slices)
    height = _height(window)
    below = [_TITLE + row * (height + _GAP) for row in range(1 + len(maps))]
    sheet = Image.new("RGB", (len(slices) * (_TILE + _GAP) - _GAP, below[-1] + height))
    low, high = np.percentile(volume.array[slices], (2, 99.5))
    for column, k in enumerate(slices):
        x = column * (_TILE + _GAP)
        grey = np.clip((volume.array[k] - low) / max(high - low, 1e-9), 0, 1)
        tile = _tile((255 * grey).astype(np.uint8), volume, window, Image.Resampling.BICUBIC).convert("RGB")
        label(sheet, f"slice {k + 1}", (x + _TILE // 2, _TITLE // 2))
        heated = [_with_heat(tile, heat.array[k], volume, window) for heat in maps]
        for y, picture in zip(below, [_with_contours(tile, regions, k, volume, window), *heated]):
            sheet.paste(picture, (x, y))
            label(sheet, "R", (x + 10, y + height // 2))
            label(sheet, "L", (x + _TILE - 10, y + height // 2))
    return png(sheet)


def key_images_caption(result: PatientResult) -> str:
    """What the rows of the key images are, in the words of the panel."""
    rows = ("Second row", "Third row")
    maps = [
        f"{row}: {name}, cells of {one.cell_mm:.1f} mm, {one.caption}."
        for row, (_, name, one) in zip(rows, result.maps)
    ]
    return " ".join(["First row: T2 with regions; patient's left is on the right.", *maps])


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "png", compress_level=3)  # as small as Pillow's default, and less than half its time
    return stream.getvalue()


def label(picture: Image.Image, text: str, centre: tuple[int, int], size: int = 17) -> None:
    """Write ``text`` in white around ``centre`` (x, y pixels)."""
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text(centre, text, fill="white", font=font, anchor="mm")


def _tile(array: np.ndarray, volume: Volume, window: Window, resampling: Image.Resampling) -> Image.Image:
    """The part of a slice (uint8) inside ``window`` (mm) on a tile; black beyond the image."""
    x0, x1, y0, y1 = window
    width, height, _ = volume.spacing
    box = (x0 / width, y0 / height, x1 / width, y1 / height)
    return Image.fromarray(array).transform((_TILE, _height(window)), Image.Transform.EXTENT, box, resampling)


def _with_contours(tile: Image.Image, regions: RegionSet, k: int, volume: Volume, window: Window) -> Image.Image:
    drawn = tile.copy()
    for name, mask in regions.masks.items():
        if mask[k].any():
            inside = np.asarray(_tile(255 * mask[k].astype(np.uint8), volume, window, Image.Resampling.NEAREST))
            rim = inside > minimum_filter(inside, 5)
            colour = tuple(round(255 * c) for c in SEGMENTS[name].color)
            drawn.paste(colour, mask=Image.fromarray(rim))
    return drawn


def _with_heat(tile: Image.Image, heat: np.ndarray, volume: Volume, window: Window) -> Image.Image:
    values = np.asarray(_tile((255 * np.clip(heat, 0, 1)).astype(np.uint8), volume, window, Image.Resampling.NEAREST))
    steps = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO], float)
    places = np.linspace(0, 255, len(steps))
    coloured = np.stack([np.interp(values, places, steps[:, channel]) for channel in range(3)], axis=-1)
    opacity = Image.fromarray(np.where(values >= 255 * _HEAT_FROM, round(255 * _HEAT_OPACITY), 0).astype(np.uint8))
    return Image.composite(Image.fromarray(coloured.astype(np.uint8)), tile, opacity)


def _height(window: Window) -> int:
    """Height of a tile (pixels) that shows ``window``."""
    x0, x1, y0, y1 = window
    return round(_TILE * (y1 - y0) / (x1 - x0))


def _window(volume: Volume, masks: Sequence[np.ndarray], slices: list[int]) -> Window:
    """Field (mm: x0, x1, y0, y1) around the classified region on the key slices, with room to recognise the anatomy."""
    _, height, width = volume.grid.shape
    together = np.zeros((height, width), bool)
    for mask in masks:
        together |= mask[slices].any(axis=0)
    rows, columns = np.nonzero(together)
    if not rows.size:
        rows, columns = np.array([0, height]), np.array([0, width])
    x, y = (columns.min() + columns.max()) / 2 * volume.spacing[0], (rows.min() + rows.max()) / 2 * volume.spacing[1]
    across, down = np.ptp(columns) * volume.spacing[0] / 2 + 10, np.ptp(rows) * volume.spacing[1] / 2 + 10
    half_x, half_y = max(_HALF_X_MM, across), max(_HALF_Y_MM, down)
    return (x - half_x, x + half_x, y - half_y, y + half_y)
