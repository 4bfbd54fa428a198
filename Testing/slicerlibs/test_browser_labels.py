"""A region file with a stranger's label names, brought in through the page: asked once, joined, left out, undone."""

from __future__ import annotations

import numpy as np
import pytest
from browser import needsPage, readerAtWork
from stranger import strangersFile

from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.mrml.importing import LEAVE_OUT, FileLabel, _guess, assignment

pytestmark = needsPage()
NAMES = ("Ventrikel <b>x</b>", "lentiform, lower (L)", "tumour", "CSF ventricles")


def test_labels_of_a_strangers_file_are_asked_for(simulated_image, tmp_path):
    volume = read_image(simulated_image)
    voxels = strangersFile(volume, tmp_path / "stranger.seg.nrrd", NAMES)
    volumes = [count * float(np.prod(volume.spacing)) / 1000 for count in voxels]
    with readerAtWork() as reader:
        page = reader.page
        reader.openImage(simulated_image)
        page.set_input_files("#upload-regions", tmp_path / "stranger.seg.nrrd")
        page.wait_for_selector("#labels")
        assert [line.inner_text() for line in page.locator(".label-name").all()] == list(NAMES)
        assert reader.withoutName() == []
        selects = page.locator(".label-row select")
        guesses = [selects.nth(n).input_value() for n in range(4)]
        assert guesses == ["CSF ventricles", "Sub-lentiform left", LEAVE_OUT, "CSF ventricles"]
        for n in range(4):
            selects.nth(n).select_option(LEAVE_OUT)
        page.click("#labels-bring-in")
        page.wait_for_selector("#labels-fault")
        assert "Every label is left out" in reader.text("#labels-fault")
        for n, region in enumerate(("CSF ventricles", "Sub-lentiform right", LEAVE_OUT, "CSF ventricles")):
            selects.nth(n).select_option(region)
        page.click("#labels-bring-in")
        page.wait_for_selector("#labels", state="hidden")
        ventricles = reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), 0.0)
        assert ventricles == pytest.approx(volumes[0] + volumes[3], abs=0.006)
        right = reader.milliliters("Sub-lentiform right")
        assert right == pytest.approx(volumes[1], abs=0.006)
        assert reader.milliliters("Sub-lentiform left") == 0
        page.click("#undo")  # one step back
        assert reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), ventricles) == 0
        assert reader.milliliters("Sub-lentiform right") == 0
        reader.assertNoFault()


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("lateral ventricles", "Lateral ventricles"), ("3rd Ventricle", "Third ventricle"),
        ("Fourth_ventricle_mask", "Fourth ventricle"), ("csf", "CSF ventricles"), ("PVS_R", "PVS right"),
        ("perivascular spaces, left", "PVS left"), ("sublentiform-l", "Sub-lentiform left"),
        ("lentiform", LEAVE_OUT), ("tumour", LEAVE_OUT), ("lentiform left and right", LEAVE_OUT),
    ],
)  # fmt: skip
def test_what_a_label_probably_is(name, region):
    assert _guess(name) == region


def test_choices_that_make_no_sense():
    labels = [FileLabel("a", 5, LEAVE_OUT), FileLabel("a", 6, LEAVE_OUT), FileLabel("b", 7, LEAVE_OUT)]
    with pytest.raises(BadInput, match="several labels “a”"):
        assignment(labels, ["PVS left", "PVS right", LEAVE_OUT])
    with pytest.raises(BadInput, match="do not fit"):
        assignment(labels, ["PVS left"])
    with pytest.raises(BadInput, match="do not fit"):
        assignment(labels, ["PVS left", "PVS left", "liver"])
    assert assignment(labels, ["PVS left", "PVS left", LEAVE_OUT]) == {"a": "PVS left", "b": None}
