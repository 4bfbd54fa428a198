"""DICOM files of old archives, which lack the preamble or all but their data set. What is refused: hostile_dicom."""

import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_files import data_sets, no_preamble, write_series

from cnsifusion.imaging import read_image
from cnsifusion.imaging.dicom import patient_key, read_dicom_headers, series_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hostile"))
from hostile_dicom import SMALL


@pytest.mark.parametrize("left", [no_preamble, data_sets])
def test_series_patient_and_geometry_are_those_of_the_whole_files(left, tmp_path) -> None:
    paths = write_series(SMALL, tmp_path)
    known = patient_key(paths[0])
    left(paths[:-3])  # a series of which some files went through another archive
    (series,) = series_files(tmp_path, "MR").values()
    assert sorted(series) == sorted(paths) and known and {patient_key(path) for path in paths} == {known}
    again = read_image(tmp_path)
    assert np.array_equal(again.array, SMALL.array.round()) and again.grid == SMALL.grid
    assert read_dicom_headers(tmp_path)[1].size == SMALL.grid.size
