"""What is kept of the last heads: never another head's, and nothing is worked out twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnsifusion.analysis import heads
from cnsifusion.analysis.heads import Heads
from cnsifusion.imaging import CheckReport, Grid, PreparationSettings, Volume, write_volume
from cnsifusion.roi.case import Case
from cnsifusion.roi.regions import RegionSet

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def volume(seed: int) -> Volume:
    array = np.random.default_rng(seed).normal(size=(4, 6, 8)).astype(np.float32)
    return Volume(array, Grid((8, 6, 4), (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), IDENTITY))


@pytest.fixture
def work(monkeypatch) -> list[str]:
    """What was really done, in order: reading as it is, the rest replaced by something quick."""
    done: list[str] = []
    read = heads.read_image

    def reading(path):
        done.append("read")
        return read(path)

    def examine(_volume):
        done.append("examine")
        return CheckReport(), None

    def prepare(image, *_):
        done.append("prepare")
        return Case(image, CheckReport(), None, None, RegionSet(image.grid))  # type: ignore[arg-type]

    monkeypatch.setattr(heads, "read_image", reading)
    monkeypatch.setattr(heads, "examine", examine)
    monkeypatch.setattr(heads, "prepare_head", prepare)
    return done


def prepared(kept: Heads, path) -> Case:
    return kept.prepared(kept.read(path), PreparationSettings(), lambda name: None)


def test_the_same_file_is_worked_on_once_and_a_changed_one_again(work, tmp_path):
    kept, path = Heads(), tmp_path / "head.nii.gz"
    write_volume(volume(1), path)
    first = prepared(kept, path)
    assert work == ["read", "examine", "prepare"]
    again = prepared(kept, path)
    assert work == ["read", "examine", "prepare"]
    assert again.volume.sha256 == first.volume.sha256

    write_volume(volume(2), path)  # other voxels under the same name
    np.testing.assert_array_equal(prepared(kept, path).volume.array, volume(2).array)
    assert work == ["read", "examine", "prepare"] * 2


def test_what_is_known_of_the_acquisition_is_part_of_the_head(work, tmp_path):
    kept, path = Heads(), tmp_path / "head.nii.gz"
    write_volume(volume(1), path)
    assert prepared(kept, path).volume.acquisition.echo_time is None
    (tmp_path / "head.json").write_text(json.dumps({"EchoTime": 0.1}))
    assert prepared(kept, path).volume.acquisition.echo_time == 100
    assert work == ["read", "examine", "prepare"] * 2


def test_the_same_voxels_in_another_file_are_known_again_under_that_files_own_hash(work, tmp_path):
    kept = Heads()
    write_volume(volume(1), tmp_path / "head.nii.gz")
    write_volume(volume(1), tmp_path / "head.nrrd")
    hashes = {prepared(kept, tmp_path / name).volume.sha256 for name in ("head.nii.gz", "head.nrrd")}
    assert len(hashes) == 2
    assert work == ["read", "examine", "prepare", "read"]


def test_a_file_whose_voxels_lie_beside_it_is_read_each_time(work, tmp_path):
    kept = Heads()
    write_volume(volume(1), tmp_path / "head.mha")
    for name in ("head.mha", "head.mha"):
        kept.read(tmp_path / name)
    assert work == ["read", "read"]


def test_only_the_last_heads_are_kept(work, tmp_path):
    kept = Heads()
    for number in (1, 2, 3, 3, 2, 1):
        write_volume(volume(number), tmp_path / f"{number}.nii.gz")
        prepared(kept, tmp_path / f"{number}.nii.gz")
    assert work.count("prepare") == 4  # the first was let go for the third
