"""What every tool returns: a mask in a small window, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnsifusion.roi.morphology import bounds


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
        return self.within((0, 0, 0), shape)

    def within(self, origin: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
        """The mask as seen in another window of the same image: a bool array of ``shape`` beginning at ``origin``."""
        seen = np.zeros(shape, bool)
        spans = [(max(o, a), min(o + n, a + m)) for o, n, a, m in zip(self.origin, self.mask.shape, origin, shape)]
        if all(low < high for low, high in spans):
            here = tuple(slice(low - a, high - a) for (low, high), a in zip(spans, origin))
            there = tuple(slice(low - o, high - o) for (low, high), o in zip(spans, self.origin))
            seen[here] = self.mask[there]
        return seen


def united(first: ToolResult, second: ToolResult) -> ToolResult:
    """Both masks in one window; the second's reason stands only while there is no mask at all."""
    if first.empty:
        return second
    if second.empty:
        return first
    low = np.minimum(first.origin, second.origin)
    high = np.maximum(np.add(first.origin, first.mask.shape), np.add(second.origin, second.mask.shape))
    origin, shape = (int(low[0]), int(low[1]), int(low[2])), tuple(int(n) for n in high - low)
    return ToolResult(first.within(origin, shape) | second.within(origin, shape), origin)


def nothing(reason: str) -> ToolResult:
    """An empty result with its reason."""
    return ToolResult(np.zeros((0, 0, 0), bool), (0, 0, 0), reason)


def cropped(mask: np.ndarray, origin: tuple[int, int, int], reason: str) -> ToolResult:
    """The smallest window around the set voxels of ``mask``; nothing(``reason``) where there is none."""
    k, j, i = bounds(mask)
    if k == slice(0, 0):
        return nothing(reason)
    return ToolResult(mask[k, j, i], (origin[0] + k.start, origin[1] + j.start, origin[2] + i.start))
