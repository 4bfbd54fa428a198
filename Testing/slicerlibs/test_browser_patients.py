"""One patient after the other in a real Chromium: what is asked, what is said, and that nothing of the first stays."""

import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from browser import LEFT, changed, middle, needsPage, readerWithRegions

from cnsifusion.imaging import read_image
from cnsifusion.roi.region_io import read_regions, write_regions

pytestmark = needsPage()


@pytest.fixture(scope="module")
def reader(simulated_image, tmp_path_factory):
    with readerWithRegions(simulated_image, tmp_path_factory.mktemp("other") / "DOE_JANE.seg.nrrd") as reader:
        yield reader


@pytest.fixture
def another(simulated_image, tmp_path):
    """A second patient's image."""
    return shutil.copy(simulated_image, tmp_path / "Another.nii.gz")


def drawn(reader) -> float:
    """The left region's millilitres, after the reader added a piece to it."""
    before, (x, y) = reader.milliliters(LEFT), middle(reader)
    reader.page.click("#tool-outline")
    mouse = reader.page.mouse
    mouse.move(x, y)
    mouse.down()
    for dx, dy in ((60, 0), (60, 60), (0, 60)):
        mouse.move(x + dx, y + dy, steps=4)
    mouse.up()
    return changed(reader, LEFT, before)


def typed(reader, path) -> None:
    """Another image's path, and Enter."""
    if reader.page.locator("#another-image").count():
        reader.page.click("#another-image")
    reader.page.fill("#path", str(path))
    reader.page.press("#path", "Enter")


def test_01_regions_that_were_not_saved_are_not_given_up_without_a_question(reader, another):
    page = reader.page
    milliliters = drawn(reader)
    typed(reader, another)
    page.wait_for_selector("#leave-open")
    assert reader.withoutName() == []
    page.click("#leave-stay")
    page.wait_for_selector("#leave-open", state="hidden")
    assert reader.milliliters(LEFT) == milliliters
    typed(reader, another)
    page.wait_for_selector("#leave-open")
    with page.expect_download():
        page.click("#leave-save")
    page.keyboard.press("Escape")
    page.wait_for_selector("#leave-open", state="hidden")
    assert drawn(reader) > milliliters, "saved, then changed again"
    typed(reader, another)
    page.wait_for_selector("#leave-open")
    page.keyboard.press("Escape")
    with page.expect_download():
        page.click("#save-regions")


def test_02_the_page_says_which_image_is_open(reader, simulated_image):
    assert reader.text("#image-name") == f"{simulated_image.parent.name}/{simulated_image.name}"


def test_03_nothing_of_the_first_patient_stays(reader, another):
    """Not the name of a file that was sent, not a tick that would write the next one's score; saved regions may go."""
    page = reader.page
    page.click("#compare")
    page.set_input_files("#upload-other", reader.file)
    page.wait_for_selector("#agreement >> nth=0")
    page.evaluate("['dicom_open', 'dicom_confirm'].forEach(name => window.trame.state.set(name, true))")
    assert "DOE" in reader.text("#steps")
    typed(reader, another)
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('not drawn')")
    assert not page.locator("#leave-open").count(), "saved regions may go without a question"
    assert "DOE" not in reader.text("#steps") and reader.text("#image-name").endswith("Another.nii.gz")
    assert not any(page.evaluate(f"window.trame.state.get('{name}')") for name in ("dicom_open", "dicom_confirm"))


def test_04_the_files_of_a_former_patient_leave_the_disk(reader, another, image):
    """What the browser sent, what was saved and what was written for it went only when the program ended."""
    reader.page.click("#another-image")
    reader.page.set_input_files("#upload-image", sorted(image.iterdir()))
    reader.waitFor("document.querySelector('#image-name')?.innerText.includes('Doe')")
    assert filesOf(reader), "the series that was sent is kept while it is in front"
    typed(reader, another)
    reader.waitFor("document.querySelector('#image-name').innerText.includes('Another')")
    assert not filesOf(reader)


def filesOf(reader) -> list[Path]:
    """What the program keeps of patients in its temporary folder."""
    mine = next(Path(tempfile.gettempdir()).glob(f".cnsifusion-*-{reader.app.process.pid}-*"))
    return [path for path in mine.rglob("*") if path.is_file()]


def test_05_what_goes_wrong_is_in_sight_below_the_fourth_step_too(reader):
    """The page was scrolled to the result: the sentence stood above the window's edge."""
    page = reader.page
    page.click("#button-propose")
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('ml')", 120)
    page.click("#button-analyze")
    page.wait_for_selector("#probability", timeout=120_000)
    page.fill("#pretest", "many")
    page.press("#pretest", "Enter")
    message = page.locator("#message", has_text="number between")
    message.wait_for()
    page.locator("#report-patient").scroll_into_view_if_needed()
    box, bar = message.bounding_box(), page.locator("header").bounding_box()
    assert box["y"] >= bar["y"] + bar["height"], "above the page"
    message.locator("button").click()
    message.wait_for(state="hidden")


def test_06_a_result_of_other_regions_is_struck_out(reader):
    page = reader.page
    assert "line-through" not in decoration(page)
    reader.chooseRegion(LEFT)
    page.click("#reject")
    page.click("#reject-0")
    page.wait_for_selector("#step-result >> text=The regions changed")
    assert "line-through" in decoration(page)
    page.click("#undo")
    page.wait_for_selector("#step-result >> text=The regions changed", state="detached")
    assert "line-through" not in decoration(page)


def decoration(page) -> str:
    return page.locator("#probability").evaluate("e => getComputedStyle(e).textDecoration")


def test_06b_the_ruler_is_as_long_as_it_says(reader, another):
    """Beside it the letter of the edge stays readable; the bar of what takes long is shown while it does."""
    page, volume, box = reader.page, read_image(another), reader.axialBox()
    page.mouse.move(5, 5)
    bright = (reader.settledPixels().min(2) > 150)[-30:]
    edges = [np.flatnonzero(np.diff(np.concatenate(([0], row, [0])))) for row in bright.astype(int)]
    longest = max(int((found[1::2] - found[::2]).max()) for found in edges if len(found))
    extent = (volume.spacing[0] * volume.array.shape[2], volume.spacing[1] * volume.array.shape[1])
    millimetres = longest * max(extent[0] / box["width"], extent[1] / box["height"])
    assert millimetres == pytest.approx(50, rel=0.04)
    letter = page.locator("#edge-Red-bottom").bounding_box()
    assert letter["y"] + letter["height"] <= box["y"] + box["height"] - 20
    page.evaluate("window.trame.state.set('trame__busy', 1)")
    page.wait_for_selector("#busy.v-progress-linear--active")
    page.evaluate("window.trame.state.set('trame__busy', 0)")
    page.wait_for_selector("#busy:not(.v-progress-linear--active)", state="attached")


def test_06c_dragging_sets_the_images_window_and_never_the_maps(reader):
    """The colours of a map say something; with no tool in hand the left button is the window's, as in a PACS."""
    page, box = reader.page, reader.axialBox()
    page.locator("[id^=instance-]").last.click()
    page.click("#tool-none")
    assert "brightness" in reader.text("#mouse")
    page.mouse.move(5, 5)
    before, (x, y) = reader.settledPixels(), (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    coloured = before.max(2) - before.min(2) > 90
    drag(page, (x, y), (x + 60, y + 90))
    page.mouse.move(5, 5)
    after = reader.settledPixels()
    assert np.abs(after - before)[~coloured].mean() > 8, "the image looks as before"


def drag(page, start, end) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


def test_07_limits_are_offered_and_named_for_those_who_hear_the_page(reader):
    page = reader.page
    page.click("#limits")
    page.wait_for_selector("#limits-controls")
    assert reader.withoutName() == []
    assert [re.sub(r"\W", "", head.inner_text()) for head in page.locator("#steps h2").all()] == [
        "1Image", "2Regions", "3Model", "4Analyze", "5Result"
    ]  # fmt: skip
    assert page.locator("#steps h2").first.get_attribute("aria-label") == "1 Image, done"
    pressed = page.locator("#steps button.row[aria-pressed=true]")
    assert [row.get_attribute("id") for row in pressed.all()] == ["region-Sub-lentiform-left"]
    page.emulate_media(forced_colors="active")  # Windows' high contrast
    for drawn in (".swatch", ".scale-value", ".scale-range", ".bar-fill", ".strip-dot"):
        assert page.locator(drawn).first.evaluate("e => getComputedStyle(e).forcedColorAdjust") == "none", drawn
    page.emulate_media(forced_colors="none")
    reader.assertNoFault()


def test_07b_a_region_that_is_drawn_never_says_nothing(reader, another, tmp_path):
    """Two voxels were "0.00 ml"."""
    regions = read_regions(reader.file, read_image(another))
    mask = regions.masks[LEFT]
    mask[tuple(np.argwhere(mask)[2:].T)] = False
    write_regions(regions, tmp_path / "small.seg.nrrd")
    reader.page.set_input_files("#upload-regions", tmp_path / "small.seg.nrrd")
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('mm³')")
    assert re.search(r"\b[1-9] mm³", reader.text("#region-Sub-lentiform-left"))


def test_08_a_program_that_ended_says_what_to_do(reader):
    reader.app.stop()
    reader.page.wait_for_selector("text=cnsifusion app")
