"""The job by clicking, in a real Chromium on the real program, from Analyze on: score, report, DICOM, many tabs."""

import base64
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from browser import SIZE, needsPage, readerAtWork

from cnsifusion.imaging import read_image, write_volume

pytestmark = needsPage()


@pytest.fixture(scope="module")
def reader(image):
    with readerAtWork() as reader:
        reader.openImage(image)
        yield reader


def test_09_analyze_and_read_the_score(reader):
    reader.page.click("#button-analyze")
    reader.page.wait_for_selector("#progress-analyze")
    reader.page.wait_for_selector("#probability", timeout=300_000)
    assert re.fullmatch(r"[<>]?\d{1,2} %", reader.text("#probability"))
    assert reader.text("#verdict") == "DEMONSTRATION, not meaningful for patients"
    sizes = [
        reader.page.locator(selector).evaluate("e => getComputedStyle(e).fontSize")
        for selector in ("#probability", "#verdict")
    ]
    assert sizes[0] == sizes[1], "the demonstration's word is as large as the number"
    assert "lumbar puncture" in reader.text("#result")
    reader.page.wait_for_function("document.querySelector('#probability').getBoundingClientRect().bottom < innerHeight")


def test_09b_numbers_are_drawn_where_they_belong(reader):
    """The patient's right on the left, as in the axial view; what raises the score points up; a dot for each place."""
    page = reader.page

    def percent(element, name):
        return float(re.search(rf"{name}: ([\d.]+)%", element.get_attribute("style")).group(1))

    value, low, width = (percent(page.locator(f".scale-{part}"), name)
                         for part, name in (("value", "left"), ("range", "left"), ("range", "width")))  # fmt: skip
    limits = [float(number) for number in re.findall(r"(\d+) %", reader.text("#result"))[1:4]]
    assert "threshold" in reader.text("#result").splitlines()[3], "the first of these is the threshold"
    assert percent(page.locator(".scale-threshold"), "left") == pytest.approx(limits[0], abs=0.51)
    assert (low, low + width) == pytest.approx(limits[1:], abs=0.51) and low <= value <= low + width
    assert value == pytest.approx(float(reader.text("#probability").strip("<> %")), abs=0.51)
    warnings = page.evaluate("window.trame.state.get('panel').result.warnings")
    assert [line for line in warnings if line not in reader.text("#result")] == []
    middle = page.locator(".chart-text").nth(1).bounding_box()["x"]
    assert [head.inner_text() for head in page.locator(".chart-head .chart-side").all()] == ["right", "left"]
    threshold = percent(page.locator(".scale-threshold"), "left")
    for bar in (bars := page.locator("[id^=instance-]").all()):
        side = "right" if "right" in bar.get_attribute("title") else "left"
        assert f"-{side}-" in bar.get_attribute("id") and (bar.bounding_box()["x"] < middle) == (side == "right")
        fill, number = bar.locator(".bar-fill"), float(bar.inner_text().strip("<> %"))
        assert percent(fill, "width") == pytest.approx(number, abs=0.51)
        assert ("bar-above" in fill.get_attribute("class")) == (percent(fill, "width") >= threshold)
        assert f"{side}: 0px" in fill.get_attribute("style"), "a bar grows away from the middle"
    assert len(bars) >= 2
    for row in (rows := page.locator(".driver").all()):
        arrow, number = re.match(r"(.)[^+-]*.*?([+-]\d+\.\d\d)$", row.inner_text(), re.DOTALL).groups()
        told = row.get_attribute("title")
        assert (arrow == "▲") == number.startswith("+") == ("raises" in told) != ("lowers" in told), row.inner_text()
        if place := re.search(r"higher than in (\d+) %", told):
            assert percent(row.locator(".strip-dot"), "left") == pytest.approx(float(place.group(1)), abs=0.51)
    assert len(rows) == 6


def test_10_a_slice_of_the_result_is_shown(reader):
    row = reader.page.locator("[id^=instance-]").last  # the lowest slice: the region is large there
    number = re.search(r"slice (\d+)", row.get_attribute("title")).group(1)
    row.click()
    reader.waitFor(f"document.querySelector('#slice-Red').innerText.startsWith('Axial {number}/')", 20)
    chosen = reader.page.locator(".row-selected[id^=instance-]")
    chosen.wait_for()
    assert [each.get_attribute("id") for each in chosen.all()] == [row.get_attribute("id")]


def test_10b_all_that_is_clicked_is_reached_with_the_keyboard(reader):
    """What shows a hand under the mouse can have the focus; Vuetify's own parts take it elsewhere."""
    mouseOnly = reader.page.evaluate(
        """[...document.querySelectorAll('#steps *')]
        .filter(e => getComputedStyle(e).cursor == 'pointer' && !e.closest('[class*=v-slider], .v-field__clearable'))
        .filter(e => !e.closest('button, a, input, label, select, [tabindex]')).map(e => e.id || e.className)"""
    )
    assert mouseOnly == []
    reader.page.focus("#model-card")
    reader.page.keyboard.press("Enter")
    reader.page.wait_for_selector("#card")
    assert reader.withoutName() == []
    assert reader.page.locator("img").first.get_attribute("alt") == reader.text("#slice-Red")
    reader.page.keyboard.press("Escape")
    reader.page.wait_for_selector("#card", state="hidden")


def test_10c_another_size_of_the_window_keeps_the_slice_and_the_warning(reader):
    before = reader.text("#slice-Red"), reader.text("#slice-Yellow")
    width = reader.axialBox()["width"]
    reader.page.set_viewport_size({"width": 1100, "height": 700})
    reader.waitForChange(lambda: reader.axialBox()["width"], width)
    reader.page.wait_for_timeout(1500)
    assert (reader.text("#slice-Red"), reader.text("#slice-Yellow")) == before
    reader.page.set_viewport_size({"width": 600, "height": 700})
    sentence, bar = (reader.page.locator(name).bounding_box() for name in (".research-use", "header"))
    assert sentence["y"] >= bar["y"] and sentence["y"] + sentence["height"] <= bar["y"] + bar["height"]
    reader.page.set_viewport_size(SIZE)
    reader.waitForChange(lambda: reader.axialBox()["width"] == width, False)


def test_11_the_heat_map_can_be_taken_away(reader):
    reader.page.mouse.move(5, 5)
    withLog = reader.settledPixels()
    reader.page.locator("#map-heatMap").click()
    reader.waitForChange(lambda: int((np.abs(reader.axialPixels() - withLog).sum(2) > 30).sum() > 50), 0)
    said = "where the network part looked, not where infection is"
    reader.waitFor(f"document.querySelector('#map-caption').innerText.includes('{said}')")
    reader.waitForChange(lambda: _reddish(reader) > 300, False)
    way = reader.page.locator(".v-slider:has(#heat-opacity) .v-slider-track")
    box = way.bounding_box()
    reader.page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
    reader.waitForChange(lambda: _reddish(reader) < 60, False)
    reader.page.mouse.move(5, 5)
    withHeat = reader.settledPixels()  # seen through, so that what differs is the regions: outlines alone under a map
    reader.page.locator("#heat-shown").uncheck()
    reader.waitForChange(lambda: int((np.abs(reader.axialPixels() - withHeat).sum(2) > 30).sum() > 50), 0)


def test_11b_the_map_of_regions_that_changed_since_is_hidden(reader):
    """It lay over the image all the same while the reader drew."""
    page = reader.page
    page.locator("#heat-shown").check()
    box = page.locator(".v-slider:has(#heat-opacity) .v-slider-track").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.waitForChange(lambda: _reddish(reader) > 300, False)
    reader.chooseRegion("Sub-lentiform left")
    page.click("#reject")
    page.click("#reject-1")
    reader.waitFor("document.querySelector('#step-result').innerText.includes('maps are hidden')")
    assert page.locator("#heat-shown").is_disabled()
    reader.waitForChange(lambda: _reddish(reader) < 60, False)
    page.click("#undo")
    reader.waitForChange(lambda: _reddish(reader) > 300, False)
    assert page.locator("#heat-shown").is_enabled()


def _reddish(reader) -> int:
    """Pixels of the axial view in the map's colours."""
    red, green, blue = np.moveaxis(reader.axialPixels(), 2, 0)
    return int(((red - green > 60) & (red - blue > 60)).sum())


def test_12_the_pretest_probability_is_used(reader):
    before = reader.text("#at-pretest")
    reader.page.fill("#pretest", "many")
    reader.page.keyboard.press("Enter")
    reader.page.locator("#message", has_text="a number between 0 and 100").wait_for()
    assert reader.text("#at-pretest") == before
    for typed, said in (("12,5 %", "12.5"), ("10", "10")):
        reader.page.fill("#pretest", typed)
        reader.page.keyboard.press("Enter")
        before = reader.waitForChange(lambda: reader.text("#at-pretest"), before)
        assert before.startswith(f"With a pre-test probability of {said} % it would be")


def test_13_the_report_opens(reader):
    with reader.page.expect_popup() as popup:
        reader.page.click("#button-report")
    report = popup.value
    report.wait_for_load_state()
    assert "DEMONSTRATION" in report.inner_text("body")
    report.emulate_media(media="print")
    for paper, millimeters in (("A4", 210), ("Letter", 215.9)):
        assert len(re.findall(rb"/Type /Page\b", report.pdf(format=paper))) == 1, f"more than one page of {paper}"
        report.set_viewport_size({"width": int((millimeters - 22) / 25.4 * 96), "height": 900})  # 11 mm margins
        rights = "[...document.querySelectorAll('*')].map(e => e.getBoundingClientRect().right - innerWidth)"
        assert max(report.evaluate(rights)) <= 1, f"something is cut off on {paper}"
    for _ in range(40):
        report.evaluate("document.querySelector('section').append(document.querySelector('.banner').cloneNode(true))")
    assert len(re.findall(rb"/Type /Page\b", report.pdf(format="A4"))) > 1, "what has no room must not be lost"
    report.close()


def test_13b_the_report_is_saved_as_pdf_and_names_whom_the_reader_says(reader):
    nobody = _namesOnPdf(reader)
    reader.page.fill("#report-patient", "Doe, Jane ")
    named = reader.waitForChange(lambda: _namesOnPdf(reader), nobody)
    reader.page.fill("#report-patient", "")
    assert reader.waitForChange(lambda: _namesOnPdf(reader), named) == nobody == []
    assert named == [b"(Patient: Doe, Jane)"]


def _namesOnPdf(reader) -> list[bytes]:
    """Whom the PDF that the page hands out names: in ReportLab's streams, decoded."""
    with reader.page.expect_download() as download:
        reader.page.click("#button-pdf")
    streams = re.findall(rb"stream\s+(\S+?~>)endstream", Path(download.value.path()).read_bytes())
    words = b"".join(zlib.decompress(base64.a85decode(b"<~" + stream, adobe=True)) for stream in streams)
    return re.findall(rb"\(Patient[^)]*\)", words)


def test_13c_dicom_objects_come_without_the_demonstrations_score(reader):
    page = reader.page
    page.click("#button-dicom")
    page.wait_for_selector("#dicom-confirm")
    page.wait_for_function("document.querySelector('#dicom-write').getBoundingClientRect().bottom <= innerHeight")
    assert not page.locator("#dicom-zip").count(), "nothing was written yet"
    page.click("#dicom-write")
    page.wait_for_selector("#dicom-zip", timeout=60_000)
    assert set(reader.dicomArchive().namelist()) == {"key_images.dcm", "seg.dcm", "sr.dcm"}
    assert b"CNSIPROB" not in reader.dicomArchive().read("sr.dcm")
    page.click("#button-dicom")
    page.locator("#dicom-confirm").check()
    page.click("#dicom-write")
    reader.waitForChange(lambda: b"CNSIPROB" in reader.dicomArchive().read("sr.dcm"), False)


def test_13d_many_patients_into_one_table(reader, tmp_path, simulated_image):
    """Images that are refused at once are enough here: the engine's own test analyzes whole ones."""
    volume = read_image(simulated_image)
    for name in ("one", "two"):
        write_volume(volume.with_array(volume.array * 0 + 5), tmp_path / "in" / f"{name}.nrrd")
    page = reader.page
    page.click("#batch-open")
    page.fill("#batch-path", str(tmp_path / "in"))
    page.fill("#batch-out", str(tmp_path / "out"))
    page.click("#button-batch")
    page.wait_for_selector("#batch-text", timeout=60_000)
    assert "2 images analyzed, 2 without a score" in reader.text("#batch-text")
    rows = (tmp_path / "out" / "cohort.csv").read_text("utf-8").splitlines()
    assert len(rows) == 3 and rows[1].startswith("one.nrrd,") and "same value" in rows[1]
    assert reader.text("#probability"), "the patient in front stays as it was"


def test_14_cancel_a_second_run(reader):
    first = reader.text("#probability")
    # A warm analysis takes half a second: the page itself presses Cancel as soon as it is there.
    reader.page.evaluate("""() => { const seen = new MutationObserver(() => {
        const button = document.querySelector('#button-cancel');
        if (button && !button.disabled) { seen.disconnect(); button.click(); } });
        seen.observe(document.body, {childList: true, subtree: true, attributes: true}) }""")
    reader.page.click("#button-analyze")
    reader.waitFor("document.querySelector('#message')?.innerText.includes('Cancelled')")
    reader.page.wait_for_selector("#progress-analyze", state="detached")
    assert reader.text("#probability") == first


def test_15_a_second_tab_shows_the_same(reader):
    second = reader.page.context.new_page()
    second.goto(f"http://127.0.0.1:{reader.app.port}/")
    second.wait_for_selector("#probability")
    assert second.inner_text("#probability") == reader.text("#probability")
    second.close()


def test_15b_two_tabs_and_a_reload_do_not_disturb_the_session(reader):
    """One tab starts an analysis, is reloaded, the other is closed meanwhile: one result, the same as before."""
    first = reader.page
    second = first.context.new_page()
    second.goto(f"http://127.0.0.1:{reader.app.port}/")
    second.wait_for_selector("#probability")
    rows, score = reader.text("#step-regions"), reader.text("#probability")
    first.click("#button-analyze")
    second.wait_for_selector("#progress-analyze")
    assert second.locator("#button-analyze").is_disabled(), "one job at a time, whichever tab asks"
    first.reload()
    first.wait_for_selector("#steps")
    second.close()
    first.wait_for_selector("#progress-analyze", state="detached", timeout=300_000)
    first.wait_for_selector("#probability", timeout=300_000)
    assert (reader.text("#step-regions"), reader.text("#probability")) == (rows, score)
    assert reader.settledPixels().std() > 20, "the reloaded page shows no picture"


def test_15c_an_image_is_sent_from_the_browser(reader, simulated_image):
    reader.page.fill("#report-patient", "Doe, Jane")
    assert reader.waitForChange(lambda: _ofPatient(reader)["report_patient"], "") == "Doe, Jane"
    reader.page.click("#another-image")
    reader.page.set_input_files("#upload-image", str(simulated_image))
    reader.page.wait_for_selector("#probability", state="detached")
    reader.waitFor("document.querySelector('#slice-Red').innerText.includes('/32')")
    assert _ofPatient(reader) == {"report_patient": "", "pretest": "", "selected": "", "dicom_ready": False}
    assert reader.page.locator("#another-image").is_visible(), "the fields of an image that is open are put away"


def _ofPatient(reader) -> dict:
    """What the page keeps of a patient beside what it shows."""
    names = ("report_patient", "pretest", "selected", "dicom_ready")
    return {name: reader.page.evaluate(f"window.trame.state.get('{name}')") for name in names}


def test_16_another_image_starts_afresh(reader, simulated_image):
    reader.openImage(simulated_image)
    reader.page.wait_for_selector("#probability", state="detached")
    assert reader.milliliters("CSF ventricles") == 0


def test_16b_what_is_said_is_in_sight_whatever_step_is_next(reader):
    """A wrong path seemed to do nothing: its sentence stood below the window's edge."""
    page = reader.page
    page.wait_for_selector("#step-regions.step-next")
    page.click("#another-image")
    page.fill("#path", "/no/such/file.nii.gz")
    page.click("#button-open")
    box = page.locator("#message", has_text="no readable file").bounding_box()
    assert box["y"] + box["height"] <= SIZE["height"]
    assert page.evaluate("document.querySelector('#steps .v-navigation-drawer__content').scrollTop") == 0


def test_17_nothing_is_cut_off(reader):
    """At 1366x768 no word runs out of the panel."""
    wide = reader.page.evaluate(
        "[...document.querySelectorAll('#steps *')].filter(e => e.getBoundingClientRect().right > 402).length"
    )
    assert wide == 0


def test_18_no_error_on_the_page_or_in_the_program(reader):
    reader.assertNoFault()
