"""What a reader does with a whole region, in a real Chromium on the real program: each action one undo step."""

import re
import shutil

import pytest
from browser import LEFT, changed, middle, needsPage, readerWithRegions

pytestmark = needsPage()
RIGHT = "Sub-lentiform right"


@pytest.fixture(scope="module")
def reader(simulated_image, tmp_path_factory):
    with readerWithRegions(simulated_image, tmp_path_factory.mktemp("other") / "other.seg.nrrd") as reader:
        yield reader


def test_undo_takes_the_first_regions_away_and_redo_brings_them(reader):
    before = reader.milliliters(LEFT)
    reader.page.click("#undo")
    assert changed(reader, LEFT, before) == 0
    assert "Redo brings them back" in reader.text("#step-regions") and not reader.page.locator("#save-regions").count()
    assert "not drawn" in reader.text("#step-regions") and not reader.page.locator("#foci [id^=focus-]").count()
    assert reader.page.locator("#undo").is_disabled()
    reader.page.click("#redo")
    assert changed(reader, LEFT, 0.0) == before


def undo(reader, name, before, after):
    """One press of undo gives back what was, one of redo what came."""
    reader.page.click("#undo")
    assert changed(reader, name, after) == before
    reader.page.click("#redo")
    assert changed(reader, name, before) == after
    reader.page.click("#undo")
    assert changed(reader, name, after) == before


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def test_01_figures_stand_beside_the_region(reader):
    text = reader.text("#statistics >> nth=0")
    assert re.fullmatch(rf"{LEFT}: [\d.]+ ml on \d+ slices?, largest area \d+ mm², signal [\d.]+ ± [\d.]+", text)
    assert float(text.split()[2]) == pytest.approx(reader.milliliters(LEFT), abs=0.006)
    assert reader.text("#statistics >> nth=1").startswith("Left minus right:")


def test_02_reject_with_a_reason_and_take_it_back(reader):
    before = reader.milliliters(LEFT)
    reader.page.click("#reject")
    reader.page.click("#reject-1")
    assert changed(reader, LEFT, before) == 0
    reader.waitFor("document.querySelector('#step-regions').innerText.includes('lesion in the region')")
    undo_text = "document.querySelector('#step-regions').innerText.includes('rejected')"
    reader.page.click("#undo")
    assert changed(reader, LEFT, 0.0) == before
    reader.waitFor(f"!{undo_text}")


def test_02b_regions_are_saved_as_they_stand(reader, simulated_image):
    """What was corrected on the page could not leave it but as DICOM, of images that are DICOM."""
    from cnsifusion.imaging import read_image
    from cnsifusion.roi.region_io import read_regions

    image, before = read_image(simulated_image), reader.milliliters(LEFT)

    def saved():
        with reader.page.expect_download() as download:
            reader.page.click("#save-regions")
        assert download.value.suggested_filename == "cnsifusion-regions.seg.nrrd"
        download.value.save_as(reader.file.with_name("saved.seg.nrrd"))
        return read_regions(reader.file.with_name("saved.seg.nrrd"), image)

    first, now = read_regions(reader.file, image), saved()
    assert set(now.masks) == set(first.masks)
    assert all((now.masks[name] == mask).all() for name, mask in first.masks.items())
    reader.page.click("#reject")
    reader.page.click("#reject-1")
    changed(reader, LEFT, before)
    now = saved()
    assert LEFT not in now.masks and "lesion in the region" in now.withheld[LEFT]
    reader.page.click("#undo")
    assert changed(reader, LEFT, 0.0) == before


def test_03_mirror(reader):
    reader.chooseRegion(RIGHT)
    reader.waitFor("document.querySelector('#statistics')?.innerText.startsWith('Sub-lentiform right')")
    before, right = reader.milliliters(LEFT), reader.milliliters(RIGHT)
    reader.page.click("#act-mirror")
    after = changed(reader, LEFT, before)
    assert after == pytest.approx(right, rel=0.15)
    assert reader.milliliters(RIGHT) == right
    undo(reader, LEFT, before, after)
    reader.chooseRegion(LEFT)


def test_04_move_the_whole_region(reader):
    page = reader.page
    page.click("#tool-move")
    reader.waitFor("document.querySelector('#tool-move').className.includes('active')")
    x, y = middle(reader)
    before = reader.text("#statistics >> nth=0")
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    drag(page, (x, y), (x + 45, y + 25))
    after = reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), before)
    assert after.split(" on ")[0].split(": ")[0] == LEFT and after != before
    page.keyboard.press("Control+z")
    assert reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), after) == before
    page.keyboard.press("Control+y")
    assert reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), before) == after
    page.keyboard.press("z")  # without Ctrl too, as in Slicer
    assert reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), after) == before
    page.keyboard.press("y")
    assert reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), before) == after
    page.click("#undo")
    assert reader.waitForChange(lambda: reader.text("#statistics >> nth=0"), after) == before


def test_04b_keys_over_a_view_are_the_tools_and_end_nothing(reader):
    """VTK's own E and Q ended the program, and everything drawn was lost."""
    page, erasing = reader.page, "document.querySelector('#erase').checked"
    page.click("#tool-outline")
    reader.waitFor("document.querySelector('#tool-outline').className.includes('active')")
    page.mouse.click(*middle(reader))
    for wanted in ("", "!"):
        page.keyboard.press("e")
        reader.waitFor(wanted + erasing)
    for tag, keys in (("Red", "qe"), ("Green", "qe"), ("Yellow", "qe"), ("Red", "qe")):
        box = page.locator(f"#slice-{tag}").locator("xpath=..").bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(300)
        assert reader.app.process.poll() is None, (tag, keys)
    if page.evaluate(erasing):
        page.click("#erase")
    page.click("#tool-none")
    before = reader.milliliters(LEFT)
    page.mouse.click(*middle(reader))
    for key in "qe":
        page.keyboard.press(key)
        page.wait_for_timeout(300)
    assert reader.app.process.poll() is None and reader.milliliters(LEFT) == before
    page.click("#tool-move")
    reader.waitFor("document.querySelector('#tool-move').className.includes('active')")


def test_05_turn_and_scale_from_outside(reader):
    x, y = middle(reader)
    before = reader.milliliters(LEFT)
    drag(reader.page, (x + 70, y), (x + 105, y))
    after = changed(reader, LEFT, before)
    assert after > 1.3 * before
    undo(reader, LEFT, before, after)


def choose(page, select, option):
    """Pick an option of one of the page's drop-down lists."""
    page.locator(f"#{select}").locator("xpath=ancestor::div[contains(@class, 'v-field')][1]").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_05b_limits_of_drawing_are_offered_and_hold(reader):
    """Draw the right region where the left one lies: outside the other regions nothing is left of it."""
    page = reader.page
    reader.chooseRegion(LEFT)
    page.wait_for_timeout(500)  # the picture after the last undo
    x, y = middle(reader)
    reader.chooseRegion(RIGHT)
    page.click("#tool-outline")
    reader.waitFor("document.querySelector('#tool-outline').className.includes('active')")
    assert reader.text("#limits").strip() == "Limits of drawing: anywhere, keep others"

    def circle() -> None:
        page.mouse.move(x - 4, y - 4)
        page.mouse.down()
        for corner in ((4, -4), (4, 4), (-4, 4)):
            page.mouse.move(x + corner[0], y + corner[1], steps=3)
            page.wait_for_timeout(200)
        page.mouse.up()

    before = reader.milliliters(RIGHT)
    page.click("#limits")
    choose(page, "limits-where", "outside the other regions")
    reader.waitFor("document.querySelector('#limits').innerText.includes('outside')")
    circle()
    reader.waitFor("document.querySelector('#tool-hint').innerText.includes('limits of drawing')", 20)
    assert reader.milliliters(RIGHT) == before
    choose(page, "limits-where", "anywhere")
    reader.waitFor("document.querySelector('#limits').innerText.includes('anywhere')")
    circle()
    after = changed(reader, RIGHT, before)
    assert after > before
    page.click("#undo")
    assert changed(reader, RIGHT, after) == before
    page.click("#limits")
    reader.chooseRegion(LEFT)


def test_06_the_proposal_as_a_spline(reader):
    page = reader.page
    page.click("#tool-spline")
    reader.waitFor("document.querySelector('#tool-spline').className.includes('active')")
    x, y = middle(reader)
    before = reader.milliliters(LEFT)
    for step in range(10, 80, 4):  # from the middle outwards until the line is met and follows the hand
        page.mouse.move(x + step, y)
    drag(page, (x + 24, y), (x + 75, y))
    after = changed(reader, LEFT, before)
    assert after > before
    undo(reader, LEFT, before, after)


def test_06b_buttons_with_a_modifier_are_the_views(reader):
    page = reader.page
    x, y = middle(reader)
    before = reader.milliliters(LEFT)
    assert page.locator("#redo").is_enabled()
    for modifier in ("Control", "Alt", "Shift"):
        page.click("#tool-move")
        reader.waitFor("document.querySelector('#tool-move').className.includes('active')")
        page.keyboard.down(modifier)
        drag(page, (x, y), (x + 40, y + 20))
        page.keyboard.up(modifier)
    coronal = page.locator("#slice-Green").locator("xpath=..").bounding_box()
    a, b = ((coronal["x"] + share * coronal["width"], coronal["y"] + share * coronal["height"]) for share in (0.4, 0.6))
    drag(page, a, b)  # the tools draw in the axial view alone
    page.click("#tool-none")
    page.wait_for_timeout(400)
    assert reader.milliliters(LEFT) == before
    assert page.locator("#redo").is_enabled(), "a stroke would have ended what can be done again"


def test_07_fill_between_says_when_there_is_no_gap(reader):
    reader.page.click("#act-fill")
    reader.waitFor("document.querySelector('#tool-hint').innerText.includes('no gap')")


def compareAgain(reader):
    """The other reader's file once more, which browsers take for no change."""
    with reader.page.expect_file_chooser() as chooser:
        reader.page.focus("#upload-other")
        reader.page.keyboard.press("Enter")
    chooser.value.set_files(reader.file)
    reader.page.locator("#agreement").first.wait_for()


def test_08_agreement_with_another_readers_file(reader):
    page = reader.page
    page.click("#compare")
    page.set_input_files("#upload-other", reader.file)
    reader.waitFor("document.querySelectorAll('#agreement').length > 1")
    lines = page.locator("#agreement").all_inner_texts()
    assert all("Dice 1.00" in line for line in lines), lines
    page.click("#reject")
    page.click("#reject-0")
    reader.waitFor("!document.querySelector('#agreement')")
    for step in ("#undo", "#redo", "#undo"):
        compareAgain(reader)
        page.click(step)
        reader.waitFor("!document.querySelector('#agreement')")  # they were of the regions before


def test_09_foci_say_side_slice_size_and_brightness_and_a_click_goes_there(reader):
    """Where several bright dots lie close, the outline says which one the row is about, and the mouse is elsewhere."""
    page = reader.page
    reader.chooseRegion("PVS left")
    page.click("#tool-pvs")
    page.locator("#foci [id^=focus-text-]").first.wait_for()
    rows = page.locator("#foci [id^=focus-text-]")
    text = rows.first.inner_text()
    assert re.match(r"(left|right), slice \d+, [\d.]+ mm.*, [\d.]+ x noise", text), text
    page.click("#act-fill")
    reader.waitFor("document.querySelector('#tool-hint').innerText != ''")  # no gap, or nothing drawn
    for number in (0, rows.count() - 1):
        wanted = re.search(r"slice (\d+)", rows.nth(number).inner_text()).group(1)
        rows.nth(number).click()
        reader.waitFor(f"document.querySelector('#slice-Red').innerText.startsWith('Axial {wanted}/')", 20)
        page.wait_for_selector("#outline path", state="attached")
        page.wait_for_timeout(400)
        assert page.locator("#outline path").count() and reader.text("#tool-hint") == "", "what a click does there"
    rows.first.locator("xpath=preceding-sibling::button").click()
    page.wait_for_selector("#outline path", state="detached")
    page.click("#undo")
    page.click("#tool-none")


def test_09b_why_a_click_would_do_nothing_is_said_below_the_letter_of_the_side(reader):
    page, box = reader.page, reader.axialBox()
    reader.chooseRegion("CSF ventricles")
    page.click("#tool-csf")
    reader.waitFor("document.querySelector('#tool-csf').className.includes('active')")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.05 * box["height"])
    reader.waitFor("document.querySelector('#tool-hint').innerText.includes('click inside the ventricle')", 20)
    letter, hint = (page.locator(f"#{name}").bounding_box() for name in ("edge-Red-top", "tool-hint"))
    assert hint["y"] >= letter["y"] + letter["height"]
    page.click("#tool-none")
    reader.waitFor("document.querySelector('#tool-hint').innerText == ''", 20)


def test_09c_a_click_in_another_view_says_where_the_tools_work(reader):
    page, told = reader.page, "document.querySelector('#tool-hint').innerText.includes('use the axial view')"
    box = page.locator("#slice-Green").locator("xpath=..").bounding_box()
    for tool in ("outline", "none"):
        page.click(f"#tool-{tool}")
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        reader.waitFor(told if tool == "outline" else f"!{told}")
        page.mouse.move(reader.axialBox()["x"] + 30, reader.axialBox()["y"] + 90)
        reader.waitFor(f"!{told}")


def test_09d_a_double_click_asks_once(reader):
    """The second click was told to wait for another job, and that stood there when none ran any more."""
    page = reader.page
    page.locator("#button-propose").dblclick()
    page.wait_for_selector("#button-propose[disabled]")
    reader.waitFor("!document.querySelector('#button-propose').disabled")
    assert not page.locator("#message", has_text="Another job").count()


def test_10_nothing_is_cut_off_and_nothing_failed(reader):
    for region in (LEFT, "CSF ventricles", "PVS left"):
        reader.chooseRegion(region)
        reader.page.wait_for_timeout(200)
        wide = reader.page.evaluate(
            "[...document.querySelectorAll('#steps *')].filter(e => e.getBoundingClientRect().right > 402).length"
        )
        assert wide == 0, region


def test_11_another_image_takes_over_nothing(reader, simulated_image, tmp_path):
    """Limits, what another reader's file agreed with, undo and redo are the former patient's."""
    page = reader.page
    reader.chooseRegion(LEFT)
    page.click("#limits")
    choose(page, "limits-where", "outside the other regions")
    reader.waitFor("document.querySelector('#limits').innerText.includes('outside')")
    compareAgain(reader)
    assert page.locator("#undo").is_enabled()
    reader.openImage(shutil.copy(simulated_image, tmp_path / "another.nii.gz"))
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('not drawn')")
    assert page.locator("#undo").is_disabled() and page.locator("#redo").is_disabled()
    assert not page.locator("#agreement").count() and not page.locator("#statistics").count()
    page.wait_for_selector("#limits >> text=anywhere, keep others")
    reader.assertNoFault()
