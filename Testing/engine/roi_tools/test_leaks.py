"""The quick test for leaks looks only near the region: to the bit the clicks of one that measures the whole head."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cnsifusion.imaging import read_image
from cnsifusion.roi.tools import csf
from cnsifusion.roi.tools.sides import find_midline

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
HEADS = ("synA_normal", "oms_patient03_study2")


def whole(outline, plane) -> np.ndarray:
    """Which coarse cells of the whole slice lie close to the head's outline, in scipy's own words."""
    head = ndimage.binary_fill_holes(plane[:: outline._steps[0], :: outline._steps[1]] > outline._air)
    head = ndimage.binary_opening(np.pad(head, 1), iterations=2)
    sizes = np.multiply(outline._steps, outline._sampling)
    return (ndimage.distance_transform_edt(head, sampling=sizes) < 18.0)[1:-1, 1:-1]


def plain(outline, plane, _box):
    """The same question asked of every cell of the slice."""
    shallow = whole(outline, plane)

    def leaks(box, region):
        cells = (np.arange(w.start + b.start, w.start + b.stop) // n
                 for w, b, n in zip(outline._window, box, outline._steps))  # fmt: skip
        return (region & shallow[np.ix_(*cells)]).sum() > 8

    return leaks


@pytest.mark.parametrize("seed", range(30))
def test_every_cell_under_any_box_is_told_as_in_the_whole_slice(seed):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:260, :300]
    plane = 100.0 * (np.hypot((y - 130) / random.integers(60, 140), (x - 150) / random.integers(60, 140)) < 1)
    plane *= ndimage.gaussian_filter(random.normal(size=plane.shape), 9) > -0.06  # air inside and notches
    window = (slice(int(random.integers(0, 90)), 260), slice(int(random.integers(0, 90)), 300))
    outline = csf._Outline(window, 40.0, tuple(random.uniform(0.4, 1.0, 2)), csf._GROWING)
    shallow, both = whole(outline, plane), set()
    for _ in range(40):
        spans = [sorted(random.choice(w.stop - w.start + 1, 2, replace=False)) for w in window]
        box = tuple(slice(int(a), int(b)) for a, b in spans)
        (row, column), found = outline._shallow(plane, box)
        assert np.array_equal(found, shallow[row : row + found.shape[0], column : column + found.shape[1]])
        ends = [(w.start + b.start, w.start + b.stop - 1) for w, b in zip(window, box)]
        assert (row, column) == tuple(a // n for (a, _), n in zip(ends, outline._steps))
        assert found.shape == tuple(b // n - a // n + 1 for (a, b), n in zip(ends, outline._steps))
        both |= set(np.unique(found))
    assert both == {False, True}


def compare(volume, monkeypatch, clicks=10) -> None:
    bright = np.argwhere(volume.array > np.percentile(volume.array, 96))
    points = [tuple(int(p) for p in at) for at in bright[:: len(bright) // clicks]]
    quick = clicked(volume, points)
    monkeypatch.setattr(csf._Outline, "leaks", plain)
    slow = clicked(volume, points)
    assert quick == slow and len({mask for mask, *_ in quick}) > clicks / 2
    monkeypatch.setattr(csf._Outline, "leaks", lambda *_: lambda box, region: False)
    assert clicked(volume, points) != slow, "none of these clicks would leak"


def clicked(volume, points) -> list:
    """Masks, places and reasons of clicks on one slice and on all, with both sides."""
    found = []
    for k, j, i in points:
        line = find_midline(volume.array[k], volume.spacing[1::-1])
        for settings in (csf.CsfSettings(), csf.CsfSettings(tolerance=0.7, neighbours=csf.ALL_SLICES)):
            result = csf.grow(volume.array, volume.spacing, (k, j, i), settings, line)
            found.append((result.mask.tobytes(), result.mask.shape, result.origin, result.reason))
    return found


def test_on_a_simulated_head(simulated_image, monkeypatch):
    compare(read_image(simulated_image), monkeypatch)


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="the real test volumes (../shared/data) are not here")
@pytest.mark.parametrize("name", HEADS)
def test_on_heads_of_the_test_data(name, monkeypatch):
    compare(read_image(next((DATA / name).glob("*T2w*.nii.gz"))), monkeypatch)
