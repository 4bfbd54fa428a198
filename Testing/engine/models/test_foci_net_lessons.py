"""The teaching of the foci's network (Testing/foci_net): what is planted is called true, the graph runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
TESTING = Path(__file__).resolve().parents[2]
_FOLDERS = [str(TESTING / name) for name in ("benchmarks", "region_net", "foci_net")]
sys.path += _FOLDERS

import spaces  # noqa: E402
from focinet import assembled, exported, trained  # noqa: E402
from people import Person  # noqa: E402
from spaces import samples  # noqa: E402

del sys.path[-len(_FOLDERS) :]  # benchmarks/radiomics.py must not stand for pyradiomics in other tests

from cnsifusion.imaging.grid import ALONG_LPS, Grid  # noqa: E402
from cnsifusion.inference import new_session  # noqa: E402
from cnsifusion.roi.foci_net import SIZE  # noqa: E402
from cnsifusion.roi.region_net import SIDE  # noqa: E402


@pytest.fixture(scope="module")
def someone() -> Person:
    """White matter with two putamina as blocks; region B lies under both."""
    grid = Grid((121, 95, 80), (1.0, 1.0, 1.0), (-60.0, -50.0, -60.0), ALONG_LPS)
    labels = np.full(grid.shape, 2)
    nuclei = [np.zeros(grid.shape, bool) for _ in range(2)]
    nuclei[0][50:60, 35:60, 75:90], nuclei[1][50:60, 35:60, 31:46] = True, True
    labels[nuclei[0]], labels[nuclei[1]] = 12, 51
    region = np.roll(nuclei[0] | nuclei[1], -10, 0).astype(np.float32)
    own = SIDE.to_lps(np.moveaxis(np.indices(SIDE.shape)[::-1], 0, -1))
    left, right = (nucleus.astype(np.float32) for nucleus in nuclei)
    return Person("someone", labels, grid, region, grid, (left, right), [(own, own * (-1, 1, 1))])


def test_planted_blobs_are_bright_in_the_middle(someone: Person) -> None:
    pictures, constants, truths = samples(someone, 6, 5)
    assert pictures.shape == (len(truths), 3, SIZE, SIZE) and constants.shape == (len(truths), 4)
    assert 5 < truths.sum() < 0.5 * len(truths)
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 2)
    stand_out = pictures[:, 1, middle, middle].astype(float).mean((1, 2)) - np.median(pictures[:, 1], (1, 2))
    assert np.median(stand_out[truths]) > 0.2 > 3 * np.median(stand_out[~truths])
    again = samples(someone, 6, 5)
    assert np.array_equal(again[0], pictures) and np.array_equal(again[2], truths)


def test_some_pictures_are_sharpened_as_by_a_scanners_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an edge they are brighter and darker than what lies there, and elsewhere as they were."""
    edge = np.full((3, 60, 60), 100.0)
    edge[..., 30:] = 300
    monkeypatch.setattr(spaces, "_NOISE", (0, 0))
    overshoot = {}
    for share in (0, 1):
        monkeypatch.setattr(spaces, "_SHARPENED", share)
        drawn = spaces._noisy(edge, np.random.default_rng(3))
        overshoot[share] = drawn[..., 30].mean() - 300, 100 - drawn[..., 29].mean()
        assert np.allclose(drawn[..., :20], 100) and np.allclose(drawn[..., 40:], 300)
    assert np.allclose(overshoot[0], 0) and min(overshoot[1]) > 5


def test_the_exported_graph_scores_any_number(someone: Person) -> None:
    pictures, constants, truths = samples(someone, 4, 1)
    session = new_session(exported(trained(pictures, constants, truths, 3)))
    for count in (1, 4):
        (scores,) = session.run(["focus"], {"image": assembled(pictures[:count], constants[:count])})
        assert scores.shape == (count,) and np.isfinite(scores).all()
