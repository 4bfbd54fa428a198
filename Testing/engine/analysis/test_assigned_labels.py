"""A labelmap of another program at the command line: its labels get the protocol's names there."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from cnsifusion.cli import main
from cnsifusion.imaging import read_image
from cnsifusion.roi.names import SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.region_io import read_regions


def test_labels_of_another_program_are_assigned_and_analyzed(analyzed, simulated_image, tmp_path, capsys) -> None:
    """Whatever numbers it gave them, the regions and the score are those of the proposal that they were made of."""
    out, result, _ = analyzed
    volume = read_image(simulated_image)
    regions = read_regions(out / "rois.seg.nrrd", volume)
    left, right = regions.masks[SUBLENTIFORM_LEFT], regions.masks[SUBLENTIFORM_RIGHT]
    labels = sitk.GetImageFromArray((4 * left + 43 * right).astype(np.uint8))
    labels.SetSpacing(volume.spacing)
    labels.SetOrigin(volume.grid.origin)
    labels.SetDirection(volume.grid.direction)
    sitk.WriteImage(labels, tmp_path / "aseg.nii.gz")
    words = ["analyze", str(simulated_image), "--rois", str(tmp_path / "aseg.nii.gz"), "-o", str(tmp_path / "out")]
    assert main(words) == 2 and "say which is which" in capsys.readouterr().err
    assert main([*words, "--assign", f"4={SUBLENTIFORM_LEFT}", f"43={SUBLENTIFORM_RIGHT}"]) == 0
    again = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert {i["key"] for i in again["instances"]} == {i.key for i in result.instances}
    assert abs(again["patient"]["probability"] - result.patient.probability) < 1e-6
    assert main(["analyze", str(simulated_image), "-o", str(tmp_path / "out"), "--assign", "4=CSF ventricles"]) == 2
    assert "--rois" in capsys.readouterr().err
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"patient_id,image,rois\none,{simulated_image},aseg.nii.gz\n")
    words = ["cohort", "analyze", str(manifest), "-o", str(tmp_path / "cohort"), "--assign"]
    assert main([*words, f"4={SUBLENTIFORM_LEFT}", f"43={SUBLENTIFORM_RIGHT}"]) == 0
    with (tmp_path / "cohort" / "cohort.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["probability"]) == pytest.approx(again["patient"]["probability"], abs=1e-5)
    assert main([*words, f"4={SUBLENTIFORM_LEFT}", "--resume"]) == 0  # one side is another result, not the kept one
    assert len(list((tmp_path / "cohort").glob("*/result.json"))) == 2
    assert main([*words[:2], str(tmp_path), *words[3:], "4=CSF ventricles"]) == 2
    assert "a folder has none" in capsys.readouterr().err
