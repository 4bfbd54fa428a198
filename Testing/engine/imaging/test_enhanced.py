"""Enhanced multi-frame MR: what each frame says of itself."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_files import write_enhanced

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, Volume, read_image

GRID = Grid((24, 20, 6), (8.0, 9.0, 20.0), (-90.0, -90.0, -60.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_frames_of_an_enhanced_file_have_scales_and_times_of_their_own(tmp_path) -> None:
    volume = Volume(np.random.default_rng(2).integers(0, 900, (6, 20, 24)).astype(np.float32), GRID)
    scales = [(1.0 + k % 3, 10.0 * k) for k in range(volume.grid.size[2])]
    stored = volume.with_array(np.stack([(s - b) / a for (a, b), s in zip(scales, volume.array + 300)]).round())
    write_enhanced(stored, tmp_path / "one.dcm")
    header = pydicom.dcmread(tmp_path / "one.dcm")
    for frame, (slope, intercept) in zip(header.PerFrameFunctionalGroupsSequence, scales[::-1]):
        frame.PixelValueTransformationSequence = [pydicom.Dataset()]
        frame.PixelValueTransformationSequence[0].RescaleSlope = slope
        frame.PixelValueTransformationSequence[0].RescaleIntercept = intercept
        frame.MREchoSequence, frame.MRModifierSequence = [pydicom.Dataset()], [pydicom.Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime, frame.MRModifierSequence[0].InversionTimes = 95.0, 2500.0
    del header.EchoTime
    header.ContrastBolusAgentSequence = [pydicom.Dataset()]
    header.save_as(tmp_path / "one.dcm")
    again = read_image(tmp_path)
    wanted = np.stack([a * s + b for (a, b), s in zip(scales, stored.array)])
    assert again.array == pytest.approx(wanted, abs=1e-3)
    known = again.acquisition
    assert (known.echo_time, known.inversion_time, known.contrast_agent) == (95, 2500, True)
    header.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence[0].RescaleSlope = 0
    header.save_as(tmp_path / "one.dcm")
    with pytest.raises(BadInput, match="scale"):
        read_image(tmp_path)
