"""What every tool returns: a mask in a small window, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ToolResult:
    """``mask`` is bool [k, j, i] in a window whose first voxel is ``origin`` (k, j, i) of the image.

    ``reason`` is a sentence for the user when the mask is empty, and "" otherwise.
    """

    mask: np.ndarray
    origin: tuple[int, int, int]
    reason: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.mask.any()

    def on(self, shape: tuple[int, ...]) -> np.ndarray:
        """The mask as a bool array of the whole image's ``shape`` [k, j, i]."""
        whole = np.zeros(shape, bool)
        whole[tuple(slice(o, o + n) for o, n in zip(self.origin, self.mask.shape))] = self.mask
        return whole


def nothing(reason: str) -> ToolResult:
    """An empty result with its reason."""
    return ToolResult(np.zeros((0, 0, 0), bool), (0, 0, 0), reason)


def cropped(mask: np.ndarray, origin: tuple[int, int, int], reason: str) -> ToolResult:
    """The smallest window around the set voxels of ``mask``; nothing(``reason``) where there is none."""
    if not mask.any():
        return nothing(reason)
    spans = []
    for axis in range(3):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append((int(along[0]), int(along[-1]) + 1))
    window = tuple(slice(*span) for span in spans)
    (k, _), (j, _), (i, _) = spans
    return ToolResult(mask[window], (origin[0] + k, origin[1] + j, origin[2] + i))
