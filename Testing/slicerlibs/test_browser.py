"""The job by clicking, in a real Chromium on the real program, up to the regions: as a radiologist would do it."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import needsPage, readerAtWork
from scipy.ndimage import uniform_filter

from cnsifusion.bundles import default_bundle_dir
from cnsifusion.imaging import read_image
from cnsifusion.mrml.resultview import RESEARCH_USE
from cnsifusion.roi.tools.csf import grow
from cnsifusion.web.uploads import MAX_BYTES, uploadArguments

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "imaging"))
from dicom_files import write_series  # a helper of the imaging tests

pytestmark = needsPage()

#: The middle of the head, in which the brightest spot of a middle slice is a lateral ventricle (mm from the centre).
_CENTRAL_MM = 25.0


@pytest.fixture(scope="module")
def other_series(image):
    """Another contrast of the same patient."""
    volume = read_image(image)
    write_series(volume.with_array(volume.array.max() - volume.array), image.parent / "Inverted")
    return image.parent / "Inverted"


@pytest.fixture(scope="module")
def places(image):
    """Spots of the axial view (mm from its middle): in a ventricle, and in one that a click there does not take."""
    volume = read_image(image)
    middle = (volume.grid.size[2] - 1) // 2 + (volume.grid.size[2] - 1) % 2
    blurred = uniform_filter(volume.array[middle], 5)
    j, i = np.indices(blurred.shape)
    (si, sj, _), (ni, nj, _) = volume.grid.spacing, volume.grid.size
    dx, dy = (i - (ni - 1) / 2) * si, (j - (nj - 1) / 2) * sj
    blurred[(np.abs(dx) > _CENTRAL_MM) | (np.abs(dy) > _CENTRAL_MM)] = 0
    spots = []
    for _ in range(2):
        best = np.unravel_index(blurred.argmax(), blurred.shape)
        spots.append((float(dx[best]), float(dy[best])))
        taken = grow(volume.array, volume.spacing, (middle, int(best[0]), int(best[1])))
        blurred[(np.hypot(dx - dx[best], dy - dy[best]) < 12) | taken.on(volume.array.shape)[middle]] = 0
    return spots, (ni * si, nj * sj)


@pytest.fixture(scope="module")
def reader():
    with readerAtWork() as reader:
        yield reader


def test_01_an_empty_page_says_what_to_do(reader):
    assert "Choose the axial T2" in reader.text("#step-image")
    assert RESEARCH_USE in reader.text("header")
    assert reader.page.locator("#button-analyze").is_disabled()
    assert reader.page.locator("#button-analyze").locator("xpath=..").get_attribute("title").startswith("Choose")


def test_02_a_wrong_path_is_one_sentence(reader):
    reader.page.fill("#path", "/no/such/file.nii.gz")
    reader.page.click("#button-open")
    reader.page.wait_for_selector("#message")
    assert "no readable file" in reader.text("#message")


def test_03_open_an_image(reader, image):
    reader.openImage(image)
    number, count = map(int, reader.text("#slice-Red").split()[1].split("/"))
    assert abs(number - count / 2) <= 1
    size = read_image(image).grid.size
    for view, sides, slices in (("Red", "RLAP", size[2]), ("Green", "RLSI", size[1]), ("Yellow", "APSI", size[0])):
        letters = [reader.text(f"#edge-{view}-{edge}") for edge in ("left", "right", "top", "bottom")]
        assert "".join(letters) == sides and reader.text(f"#slice-{view}").endswith(f"/{slices}")
    assert reader.settledPixels().std() > 20, "the axial view shows no picture"


def test_03b_another_series_scrolls_beside_the_image(reader, other_series, tmp_path):
    page = reader.page
    page.click("#beside-open")
    stranger = read_image(other_series)
    write_series(stranger, tmp_path / "stranger", PatientID="ID-1")
    page.fill("#beside-path", str(tmp_path / "stranger"))
    page.click("#button-beside")
    reader.waitFor("document.querySelector('#message')?.innerText.includes('another patient')")
    page.fill("#beside-path", str(other_series))
    page.click("#button-beside")
    page.wait_for_selector("#beside-name")
    page.wait_for_selector("#beside-path", state="detached")
    assert "Inverted" in reader.text("#beside-name")
    assert "another frame of reference" in reader.text("#step-image"), "regions lay over another date's anatomy"
    reader.settledPixels()
    reader.waitForChange(lambda: bool(reader.besidePixels().std() > 20), False)
    assert [reader.text(f"#edge-Beside-{edge}") for edge in ("left", "right", "top", "bottom")] == [*"RLAP"]
    before, number = reader.besidePixels(), reader.text("#slice-Red")
    box = reader.axialBox()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -100)
    reader.waitForChange(lambda: reader.text("#slice-Red"), number)
    reader.waitForChange(lambda: int((np.abs(reader.besidePixels() - before) > 40).sum() > 500), 0)
    page.mouse.wheel(0, 100)
    reader.waitForChange(lambda: bool(reader.text("#slice-Red") == number), False)
    page.click("#beside-hide")
    page.wait_for_selector("#slice-Beside", state="detached")
    reader.settledPixels()


def test_03b1_what_is_too_large_is_not_sent(reader):
    """The page asks the files for their sizes; the server would have to take all of it first."""
    event = "const $event = {target: {files: sizes.map(size => ({size}))}}"
    sent = f"(sizes) => {{ {event}; return {uploadArguments()} }}"
    assert len(reader.page.evaluate(sent, [5, MAX_BYTES - 5])[0]) == 2
    assert reader.page.evaluate(sent, [6, MAX_BYTES - 5]) == [None]


def test_03b2_a_strangers_card_brings_no_markup_of_its_own():
    from cnsifusion.web.page import cardPage

    page = cardPage("<script>x</script> [a](javascript:alert) ![b](http://example.org/b.png) <img src=x onerror=y>")
    assert "<script" not in page and "<img" not in page and "javascript:alert\"" not in page


def test_03c_the_models_card_says_what_it_is(reader):
    step = reader.text("#step-model")
    assert "AUC 0." in step and "limits" in step
    reader.page.click("#model-card")
    reader.page.wait_for_selector("#card")
    card = reader.text("#card")
    assert "#" not in card and "|" not in card and "**" not in card, "Markdown is for files"
    assert {"Limits", "Performance"} <= set(reader.page.locator("#card h2").all_inner_texts())
    assert reader.page.locator("#card td", has_text="auc").count() > 0
    assert re.search(r"Hash ([0-9a-f]{12})", step).group(1) in card
    reader.page.keyboard.press("Escape")
    reader.page.wait_for_selector("#card", state="hidden")


def test_03d_another_model_is_chosen_by_its_folder(reader, tmp_path):
    page, shown = reader.page, reader.text("#step-model")
    for path, sentence in ((tmp_path, "bundle.json cannot be read"), (default_bundle_dir(), ""), ("", "")):
        page.click("#another-model") if not page.locator("#bundle-path").count() else None
        page.fill("#bundle-path", str(path))
        page.click("#button-bundle")
        if sentence:
            page.locator("#message", has_text=sentence).wait_for()
        else:
            page.wait_for_selector("#bundle-path", state="detached")
            page.wait_for_selector("#message", state="detached")
    reader.waitForChange(lambda: reader.text("#step-model") == shown, False)


def test_04_hover_shows_what_a_click_adds(reader, places):
    x, y = reader.onScreen(places)
    middle = reader.text("#slice-Red")
    reader.page.mouse.move(x, y)
    reader.page.mouse.wheel(0, -100)
    other = reader.waitForChange(lambda: reader.text("#slice-Red"), middle)
    reader.page.click("#tool-csf")
    reader.page.wait_for_selector("#slider-value")
    reader.settledPixels()
    assert reader.text("#slice-Red") == other, "the first tool in hand brings the first regions, not another slice"
    reader.page.mouse.move(x, y)
    reader.page.mouse.wheel(0, 100)
    reader.waitForChange(lambda: reader.text("#slice-Red"), other)
    reader.page.mouse.move(x, reader.axialBox()["y"] + 20)
    reader.waitFor("document.querySelector('#tool-hint').innerText.includes('click inside the ventricle')", 20)
    plain = reader.settledPixels()
    reader.page.mouse.move(x, y)
    reader.waitFor("document.querySelector('#tool-hint').innerText == ''", 20)  # the page was drawn anew
    below = len(plain) // 4  # the sentence stands above
    outlined = (np.abs(reader.settledPixels() - plain).sum(2) > 60)[below:].sum()
    assert outlined > 150, "the outline went while the mouse rested"
    reader.page.mouse.move(x, reader.axialBox()["y"] + 20)
    reader.waitForChange(lambda: bool(np.abs(reader.axialPixels() - plain).sum() < 1000), False)
    assert reader.milliliters("CSF ventricles") == 0, "hovering changes nothing"


def test_05_click_undo_redo(reader, places):
    x, y = reader.onScreen(places)
    reader.page.mouse.move(x, y)
    reader.page.mouse.down()
    reader.page.mouse.up()

    def read():
        return reader.milliliters("CSF ventricles")

    both = reader.waitForChange(read, 0.0)
    reader.page.click("#undo")
    assert reader.waitForChange(read, both) == 0
    reader.page.locator("#bothSides").uncheck()
    reader.page.mouse.move(x, y)
    reader.page.mouse.down()
    reader.page.mouse.up()
    grown = reader.waitForChange(read, 0.0)
    assert 0.1 < grown < 0.8 * both < 20, "the other side belongs to the click only while the box is ticked"
    assert "edited" in reader.text("#region-CSF-ventricles")
    reader.page.click("#undo")
    assert reader.waitForChange(read, grown) == 0
    reader.page.click("#redo")
    assert reader.waitForChange(read, 0.0) == grown


def test_06_a_drag_is_one_action(reader, places):
    def read():
        return reader.milliliters("CSF ventricles")

    clicked = read()
    reader.page.click("#undo")
    assert reader.waitForChange(read, clicked) == 0
    reader.page.mouse.move(*reader.onScreen(places))
    reader.page.mouse.down()
    reader.page.mouse.move(*reader.onScreen(places, 1), steps=8)
    reader.page.mouse.up()
    dragged = reader.waitForChange(read, 0.0)
    assert dragged > 1.3 * clicked, "the stroke goes on over another ventricle"
    reader.page.click("#undo")
    assert reader.waitForChange(read, dragged) == 0
    reader.page.mouse.move(reader.axialBox()["x"] + 20, reader.axialBox()["y"] + 20)


def test_07_the_wheel_with_shift_turns_the_tolerance(reader, places):
    x, y = reader.onScreen(places)
    reader.page.mouse.move(x, y)
    before, sliceText = reader.text("#slider-value"), reader.text("#slice-Red")
    reader.page.keyboard.down("Shift")
    reader.page.mouse.wheel(0, -100)
    after = reader.waitForChange(lambda: reader.text("#slider-value"), before)
    reader.page.keyboard.up("Shift")
    assert abs(float(after) - float(before)) == pytest.approx(0.05, abs=0.051)
    assert reader.text("#slice-Red") == sliceText
    reader.page.mouse.move(x + 1, y)
    reader.page.wait_for_selector("#outline path", state="attached")
    reader.page.mouse.wheel(0, -100)
    reader.waitForChange(lambda: reader.text("#slice-Red"), sliceText)
    reader.page.wait_for_selector("#outline path", state="detached")


def test_07b_slider_neighbours_and_erase_by_hand(reader, places):
    def read():
        return reader.milliliters("CSF ventricles")

    page, before = reader.page, reader.text("#slider-value")
    reader.slide(0.7)
    assert float(reader.waitForChange(lambda: reader.text("#slider-value"), before)) > float(before)
    page.click("#neighbours-1")
    reader.waitFor("document.querySelector('#neighbours-1').className.includes('active')")
    page.mouse.click(*reader.onScreen(places))
    grown = reader.waitForChange(read, 0.0)
    reader.waitFor("/on [23] slices/.test(document.querySelector('#statistics').innerText)")
    page.click("#neighbours-0")
    page.locator("#erase").check()
    page.mouse.click(*reader.onScreen(places))
    erased = reader.waitForChange(read, grown)
    assert 0 < erased < grown, "on this slice alone"
    page.locator("#erase").uncheck()
    for expected in (grown, 0):
        now = read()
        page.click("#undo")
        assert reader.waitForChange(read, now) == expected


def test_08_propose(reader):
    reader.page.click("#button-propose")
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('automatic')", 300)
    proposed = reader.milliliters("CSF ventricles")
    assert proposed > 5
    assert "axial T2" in reader.text("#step-image")
    notes, picture = reader.text("#step-regions"), reader.settledPixels()
    reader.page.click("#undo")
    assert reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), proposed) == 0
    assert reader.text("#region-Sub-lentiform-left").split()[-2:] == ["not", "drawn"]
    reader.page.click("#redo")
    assert reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), 0.0) == proposed
    reader.waitForChange(lambda: reader.text("#step-regions") == notes, False)
    same = lambda: bool((np.abs(reader.axialPixels() - picture).sum(2) > 30).sum() < 20)  # noqa: E731
    reader.waitForChange(same, False)  # the ventricles' parts, which only label, stay hidden


def test_08a_undo_brings_back_what_a_proposal_replaced(reader):
    page = reader.page
    ventricles = reader.milliliters("CSF ventricles")
    reader.chooseRegion("CSF ventricles")
    page.click("#tool-outline")
    box = reader.axialBox()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    for x, y in ((0.6, 0.3), (0.6, 0.6), (0.3, 0.6)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        page.wait_for_timeout(200)
    page.mouse.up()
    drawn = reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), ventricles)
    page.click("#button-propose")
    page.locator("#message", has_text="brings the former regions back").wait_for(timeout=300_000)
    assert reader.milliliters("CSF ventricles") == ventricles
    page.click("#undo")
    assert reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), ventricles) == drawn
    assert "Redo the new ones" in reader.text("#message"), "an undo too many takes a whole proposal back"
    page.click("#redo")
    assert reader.waitForChange(lambda: reader.milliliters("CSF ventricles"), drawn) == ventricles


def test_08b_a_focus_is_rejected_and_accepted_from_the_list(reader):
    page = reader.page
    reader.chooseRegion("PVS left")
    page.click("#tool-pvs")
    focus = page.locator("#foci [id^=focus-]").first
    focus.wait_for()

    def both():
        return reader.milliliters("PVS left") + reader.milliliters("PVS right")

    def listed():
        return page.locator("#foci [id^=focus-text-]").count()

    before, offered = both(), listed()
    assert before > 0
    reader.slide(0.02)
    fewer = reader.waitForChange(listed, offered)
    reader.slide(0.5)  # to a pixel, so a focus at the limit may come or go
    assert fewer < offered and reader.waitForChange(listed, fewer) > fewer
    focus.click()
    changed = reader.waitForChange(both, before)
    page.click("#undo")
    assert reader.waitForChange(both, changed) == before


def test_08c_an_outline_is_drawn_by_dragging(reader):
    page, box = reader.page, reader.axialBox()
    reader.chooseRegion("Sub-lentiform left")
    page.wait_for_selector("#tool-csf", state="detached")  # this region is not CSF
    reader.waitFor("document.querySelector('#tool-none').className.includes('active')")
    page.click("#tool-outline")
    reader.waitFor("document.querySelector('#tool-outline').className.includes('active')")
    before = reader.milliliters("Sub-lentiform left")
    corners = [(0.62, 0.7), (0.7, 0.7), (0.7, 0.78), (0.62, 0.78)]  # far from the proposed region
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
        page.wait_for_timeout(400)  # a hand's speed: the page sends what the mouse does at most every 25 ms
    page.mouse.up()
    after = reader.waitForChange(lambda: reader.milliliters("Sub-lentiform left"), before)
    assert after > before + 0.3, (before, after)
    page.click("#undo")
    assert reader.waitForChange(lambda: reader.milliliters("Sub-lentiform left"), after) == before
    page.click("#tool-none")


def test_08d_no_error_on_the_page_or_in_the_program(reader):
    reader.assertNoFault()
