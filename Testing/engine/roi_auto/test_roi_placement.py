"""Placement files: read back as they were, and refused in one sentence whatever else a file of that name holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid
from cnsifusion.roi.placement import Placement, read_placement, write_placement
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.warp import Warp

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def placement() -> Placement:
    affine = np.eye(4)
    affine[:3, 3] = 1.0, -2.0, 3.0
    array = np.random.default_rng(0).normal(size=(3, 6, 5, 4)).astype(np.float32)
    grid = Grid((4, 5, 6), (2.0, 2.0, 2.5), (-10.0, -20.0, -30.0), STRAIGHT)
    return Placement(affine, Warp(array, grid), Plane((0.5, 0.0, 0.0), (1.0, 0.0, 0.0)))


def arrays(**changed) -> dict:
    """What a placement file holds, with some arrays replaced."""
    known = placement()
    plane = [known.midplane.point, known.midplane.normal]
    whole = {
        "affine": known.affine, "displacement": known.warp.array, "origin": known.warp.grid.origin,
        "spacing": known.warp.grid.spacing, "midplane": plane,
    }  # fmt: skip
    return {**whole, **changed}


def cut(path: Path) -> None:
    write_placement(placement(), path)
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path: Path) -> None:
    write_placement(placement(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def bomb(path: Path) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("displacement.npy", bytes(1 << 27))


def vast(path: Path) -> None:
    """A header that claims more than any memory holds."""
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1000000, 1000000, 1000000), }"
    header = b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"
    np.savez(path, **{k: v for k, v in arrays().items() if k != "displacement"})
    with ZipFile(path, "a") as archive:
        archive.writestr("displacement.npy", header)


def encrypted(path: Path) -> bytes:
    """A placement whose members claim a password: bit 0 of their flags, in the archive's list of contents too."""
    np.savez(path, **arrays())
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)


BAD = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("no archive"),
    "cut short": cut,
    "a flipped byte": flipped,
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"affine": 1})),
    "pickled arrays": lambda path: np.savez(path, **arrays(affine=np.array([print, None], object))),
    "one plain array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"),
    "an array missing": lambda path: np.savez(path, affine=np.eye(4)),
    "a bomb": bomb,
    "a vast claim": vast,
    "another shape": lambda path: np.savez(path, **arrays(displacement=np.zeros((2, 3, 3, 3)))),
    "no number": lambda path: np.savez(path, **arrays(affine=np.full((4, 4), np.nan))),
    "words": lambda path: np.savez(path, **arrays(origin=np.array(["a", "b", "c"]))),
    "a flat affine": lambda path: np.savez(path, **arrays(affine=np.zeros((4, 4)))),
    "encrypted": lambda path: path.write_bytes(encrypted(path)),
    "spacing 0": lambda path: np.savez(path, **arrays(spacing=np.zeros(3))),
    "endless spacing": lambda path: np.savez(path, **arrays(spacing=np.full(3, np.inf))),
    "no normal": lambda path: np.savez(path, **arrays(midplane=np.zeros((2, 3)))),
}


def test_a_placement_comes_back_as_it_was(tmp_path) -> None:
    write_placement(placement(), tmp_path / "p.npz")
    found, known = read_placement(tmp_path / "p.npz"), placement()
    assert np.array_equal(found.affine, known.affine) and np.array_equal(found.warp.array, known.warp.array)
    assert found.warp.grid == known.warp.grid and found.midplane == known.midplane


@pytest.mark.parametrize("name", BAD)
def test_any_other_file_is_refused(name, tmp_path) -> None:
    path = tmp_path / "p.npz"
    BAD[name](path)
    with pytest.raises(BadInput, match="placement file cannot be read"):
        read_placement(path)
