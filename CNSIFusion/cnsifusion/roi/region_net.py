"""How likely region B lies where in a head, as a small network sees it.

It was taught on T2 painted from label maps of real people, with the protocol's region under their true nuclei
(Testing/region_net), and sees each side where the template has its nucleus, 1.5 mm voxels, the right side mirrored.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import ALONG_LPS, Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.networks import REGION_B, network

#: Template space (LPS mm) that the network sees of the left side; and what both sides together cover.
SIDE = Grid((28, 40, 32), (1.5, 1.5, 1.5), (0.0, -30.0, -34.0), ALONG_LPS)
BOTH = Grid((55, 40, 32), (1.5, 1.5, 1.5), (-40.5, -30.0, -34.0), ALONG_LPS)
#: What lies in region B with at least this chance is taken for it: the overlap with the true region is greatest
#: somewhat below one half.
LIKELY = 0.33
#: The image is blurred in plane by this much (mm) before it is seen in coarse voxels; signal is seen as a share of the
#: box's median, up to so much above it.
_BLUR_MM, _BRIGHTEST = 0.6, 2.5


def region_chance(volume: Volume, anatomy: Anatomy) -> np.ndarray:
    """The chance (float32 [k, j, i] on BOTH, 0-1) that a position of the template's space is of region B."""
    left, right = side_points(anatomy)
    image = network_input(np.stack([sampled(volume, left), sampled(volume, right)]))
    (scores,) = network(REGION_B).run(["region"], {"image": image})
    chance = 1 / (1 + np.exp(-scores))
    whole, middle = np.zeros(BOTH.shape, np.float32), SIDE.size[0] - 1
    whole[..., middle:] = chance[0]
    whole[..., : middle + 1] = np.maximum(whole[..., : middle + 1], chance[1, ..., ::-1])
    return whole


def side_points(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Patient positions (k, j, i, 3; LPS mm) of SIDE's voxels on the left, and of their mirror images."""
    own = SIDE.to_lps(np.moveaxis(np.indices(SIDE.shape)[::-1], 0, -1)).reshape(-1, 3)
    found = anatomy.to_patient(np.concatenate([own, own * (-1, 1, 1)]))
    left, right = found.reshape(2, *SIDE.shape, 3)
    return left, right


def sampled(volume: Volume, points: np.ndarray) -> np.ndarray:
    """Signal (float32) of ``volume`` at patient ``points`` (..., 3): blurred in plane; outside as at its rim."""
    index = volume.grid.to_kji(points)
    last = np.array(volume.grid.shape) - 1
    low = [int(np.clip(np.floor(axis.min()) - 4, 0, n)) for axis, n in zip(index, last)]
    high = [int(np.clip(np.ceil(axis.max()) + 4, 0, n)) for axis, n in zip(index, last)]
    part = volume.array[tuple(slice(a, b + 1) for a, b in zip(low, high))].astype(np.float32)
    blurred = ndimage.gaussian_filter(part, (0, _BLUR_MM / volume.spacing[1], _BLUR_MM / volume.spacing[0]))
    inner = index - np.reshape(low, (3,) + (1,) * (index.ndim - 1))
    return ndimage.map_coordinates(blurred, inner, order=1, mode="nearest")


def network_input(images: np.ndarray) -> np.ndarray:
    """What the network is given (float32, n x 4 channels) of ``images`` (n, k, j, i) on SIDE: signal and place."""
    median = np.maximum(np.median(images, (1, 2, 3), keepdims=True), 1e-6)
    signal = np.clip(images / median - 1, -1, _BRIGHTEST)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SIDE.shape), indexing="ij"))
    return np.stack([np.concatenate([own[None], place]) for own in signal]).astype(np.float32)
