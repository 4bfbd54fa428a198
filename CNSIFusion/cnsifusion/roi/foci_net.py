"""How sure a bright blob is a PVS-like focus, as a small network sees it.

It was taught with spaces of known shape planted in the deep brains of real people, painted from label maps
(Testing/foci_net), and sees a blob and its surroundings in its slice and in the two beside it, the right side mirrored.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.networks import FOCI, network

#: What the network sees: so many points of so many mm, with the blob in the middle.
SIZE, STEP_MM = 25, 0.4
#: Log-odds of the network that count as even: below, too many false ones are taken.
EVEN = 2.25
#: Signal is seen as a share of the way from tissue to CSF, within these.
_DARKEST, _BRIGHTEST = -1.5, 1.5


def confidences(
    volume: Volume, peaks: np.ndarray, diameters: np.ndarray, noise: float, tissue: float, csf: float, mirrored: bool
) -> np.ndarray:
    """The confidence (0-1) of every blob of ``network_input``."""
    if not len(peaks):
        return np.zeros(0)
    image = network_input(volume, peaks, diameters, noise, tissue, csf, mirrored)
    (scores,) = network(FOCI).run(["focus"], {"image": image})
    return 1 / (1 + np.exp(EVEN - scores.astype(float)))


def network_input(
    volume: Volume, peaks: np.ndarray, diameters: np.ndarray, noise: float, tissue: float, csf: float, mirrored: bool
) -> np.ndarray:
    """What the network is given (float32, n x 7 channels [j, i]) of the blobs at ``peaks`` (n, 3; k, j, i).

    Three slices; then thickness, pixel, the blob's diameter (mm) and noise, the same everywhere. ``noise``, ``tissue``
    and ``csf`` (above tissue) are intensities; ``mirrored`` shows the right side as if it were the left.
    """
    scale = STEP_MM / np.array(volume.spacing[1::-1])
    half = SIZE // 2
    low = peaks[:, 1:].min(0) - np.ceil((half + 1) * scale)
    size = np.ceil((peaks[:, 1:].max(0) - low) / scale).astype(int) + half + 2
    centres = np.rint((peaks[:, 1:] - low) / scale).astype(int)
    wanted = np.clip(peaks[:, :1] + (-1, 0, 1), 0, len(volume.array) - 1)
    planes = {k: _resampled(volume.array[k], low, scale, size) for k in np.unique(wanted).tolist()}
    image = np.empty((len(peaks), 7, SIZE, SIZE), np.float32)
    for own, (j, i), slices in zip(image, centres, wanted):
        window = slice(j - half, j + half + 1), slice(i - half, i + half + 1)
        own[:3] = [planes[k][window] for k in slices]
    image[:, :3] = np.clip((image[:, :3] - tissue) / csf, _DARKEST, _BRIGHTEST)
    if mirrored:
        image[:, :3] = image[:, :3, :, ::-1]
    of_image = volume.spacing[2] / 3, volume.spacing[0] / 0.6, 20 * max(noise / csf, 1e-3)
    image[:, 3:6] = np.log(of_image)[:, None, None]
    image[:, 6] = np.log(diameters / 2)[:, None, None]
    return image


def _resampled(plane: np.ndarray, low: np.ndarray, scale: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``plane`` [j, i] from ``low`` on in steps of ``scale`` (pixels), ``size`` points; outside as at its rim."""
    return ndimage.affine_transform(plane.astype(np.float32), scale, low, tuple(size), order=1, mode="nearest")
