"""The teaching of region B's network (Testing/region_net): pictures and truths lie on each other, the graph runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
TESTING = Path(__file__).resolve().parents[2]
sys.path += [str(TESTING / "benchmarks"), str(TESTING / "region_net")]

from network import exported, trained  # noqa: E402
from painting import samples  # noqa: E402
from people import Person  # noqa: E402

del sys.path[-2:]  # benchmarks/radiomics.py must not stand for pyradiomics in other tests

from cnsifusion.imaging.grid import ALONG_LPS, Grid  # noqa: E402
from cnsifusion.inference import new_session  # noqa: E402
from cnsifusion.roi.region_net import SIDE, network_input  # noqa: E402

_LEFT, _RIGHT = (slice(45, 60), slice(35, 60), slice(75, 90)), (slice(45, 60), slice(35, 60), slice(31, 46))


@pytest.fixture(scope="module")
def someone() -> Person:
    """White matter with two pallida (dark in every painting) as blocks; region B is the left one, of its own grid."""
    grid = Grid((121, 95, 80), (1.0, 1.0, 1.0), (-60.0, -50.0, -60.0), ALONG_LPS)
    labels = np.full(grid.shape, 2)
    labels[_LEFT], labels[_RIGHT] = 13, 52
    blocks = tuple((labels == code).astype(np.float32) for code in (13, 52))
    own = SIDE.to_lps(np.moveaxis(np.indices(SIDE.shape)[::-1], 0, -1))
    return Person("someone", labels, grid, blocks[0], grid, (blocks[0], blocks[1]), [(own, own * (-1, 1, 1))])


def test_truths_lie_where_the_pictures_show_them(someone: Person) -> None:
    images, truths = samples(someone, 3, 5)
    assert images.shape == (6, *SIDE.shape) and truths.shape == (6, 2, *SIDE.shape)
    assert not truths[1::2, 0].any() and truths[::2, 0].any((1, 2, 3)).all()  # region B on the left only
    for image, (_, nucleus) in zip(images.astype(float), truths):
        assert np.median(image[nucleus == 255]) < np.median(image[nucleus == 0])
    assert np.array_equal(samples(someone, 3, 5)[0], images) and not np.array_equal(samples(someone, 3, 6)[0], images)


def test_the_exported_graph_scores_both_sides(someone: Person) -> None:
    images, truths = samples(someone, 2, 1)
    session = new_session(exported(trained(images, truths, 3)))
    (scores,) = session.run(["region"], {"image": network_input(images[:2].astype(np.float32))})
    assert scores.shape == (2, *SIDE.shape) and np.isfinite(scores).all()
