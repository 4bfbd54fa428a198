"""Slices that do not fit their neighbours are named by the input check."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.imaging import Grid, Volume, check_image
from cnsifusion.imaging.grid import ALONG_LPS


def codes(array: np.ndarray) -> dict[str, str]:
    """Sentences by code of the findings on neighbouring slices of ``array`` (pixels of 1 mm, slices of 4 mm)."""
    grid = Grid(array.shape[::-1], (1.0, 1.0, 4.0), (-80.0, -100.0, -60.0), ALONG_LPS)
    return {f.code: f.text for f in check_image(Volume(array, grid)).findings if f.code.endswith("-slices")}


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A head with anatomy of some 8 mm, noise, and 34 slices."""
    rng = np.random.default_rng(4)
    k, j, i = np.meshgrid(np.linspace(-0.8, 1, 34), np.linspace(-1, 1, 180), np.linspace(-1, 1, 150), indexing="ij")
    anatomy = ndimage.gaussian_filter(rng.normal(size=k.shape), (1.5, 6, 6))
    array = np.where(k**2 + j**2 + i**2 < 0.9, 300 + 60 * anatomy / anatomy.std(), 0)
    return np.abs(array + rng.normal(0, 15, k.shape)).astype(np.float32)


def moved(array: np.ndarray, slices: slice, mm: float) -> np.ndarray:
    """``array`` with ``slices`` moved to the left."""
    out = array.copy()
    out[slices] = ndimage.shift(array[slices], (0, 0, mm), order=1)
    return out


def test_slices_that_fit_are_not_named(head: np.ndarray) -> None:
    assert codes(head) == {}
    assert codes(np.pad(head, ((9, 9), (0, 0), (0, 0)))) == {}
    assert codes(np.repeat(head[16:17], 34, 0) * np.linspace(1, 2, 34, dtype=np.float32)[:, None, None]) == {}


def test_a_slice_stored_twice_is_named(head: np.ndarray) -> None:
    again = head.copy()
    again[17] = head[16] + np.random.default_rng(1).normal(0, 15, head[16].shape)
    assert "(between slices 17 and 18)" in codes(again)["repeated-slices"]
    padded = np.pad(again, ((5, 0), (0, 0), (0, 0)))
    assert "A slice is stored twice (between slices 22 and 23)" in codes(padded)["repeated-slices"]
    assert "slices are stored twice" in codes(np.repeat(head, 2, 0))["repeated-slices"]


@pytest.mark.parametrize("mm", [2, 4])
def test_slices_moved_against_each_other_are_named(head: np.ndarray, mm: float) -> None:
    assert "moved-slices" in codes(moved(head, slice(None, None, 2), mm))
    turned = head.copy()
    turned[::2] = ndimage.rotate(head[::2], mm, axes=(1, 2), reshape=False, order=1)
    assert "moved-slices" in codes(turned)
    assert "between slices 15 and 16" in codes(moved(head, slice(15, None), 2 + mm))["moved-slices"]


def test_a_gap_is_named(head: np.ndarray) -> None:
    assert "jumps between slices 14 and 15" in codes(np.delete(head, (14, 15), 0))["missing-slices"]
