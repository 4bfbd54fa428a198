"""No tool raises on any real or simulated volume at hand, and every empty answer has its sentence."""

from pathlib import Path

import numpy as np
import pytest

from cnsifusion.imaging import read_image
from cnsifusion.roi.tools.csf import ALL_SLICES, CsfSettings, grow, lobe
from cnsifusion.roi.tools.pvs import detect

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
OTHERS = ("sri24/late.nii.gz", "cstar_stroke/FLAIR_brain.nii.gz")
IMAGES = sorted([*DATA.glob("*/*T2w*.nii.gz"), *(DATA / name for name in OTHERS)])


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="the real test volumes (../shared/data) are not here")
@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.parent.name + "/" + p.name.split(".")[0])
def test_no_tool_raises_anywhere(path):
    volume = read_image(path)
    rng = np.random.default_rng(7)
    drawn = 0
    for _ in range(25):
        point = tuple(int(rng.integers(0, n)) for n in volume.array.shape)
        settings = CsfSettings(tolerance=float(rng.random()), neighbours=int(rng.choice([0, 1, ALL_SLICES])))
        grown = grow(volume.array, volume.spacing, point, settings)
        for result in (grown, detect(volume.array, volume.spacing, point)):
            assert bool(result.reason) == result.empty
            if not result.empty:
                drawn += 1
                mask = result.on(volume.array.shape)
                inside = tuple(int(x) for x in np.argwhere(mask)[mask.sum() // 2])
                piece = lobe(result, volume.spacing, inside, settings)
                assert not piece.empty and not (piece.on(mask.shape) & ~mask).any()
    assert drawn
