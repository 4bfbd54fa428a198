"""The report as a reader gets it: one page whatever it has to say, charts that hold their words, true key images."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from reportlab.pdfbase.pdfmetrics import stringWidth

from cnsifusion.analysis.result import percent, readable
from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume, read_image
from cnsifusion.reporting import pdf, pictures, write_report
from cnsifusion.reporting.charts import CHARTS, svg
from cnsifusion.reporting.html import render
from cnsifusion.reporting.pdf import _paragraph, write_pdf
from cnsifusion.reporting.pictures import key_images, key_images_caption, key_slices
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.region_io import read_regions

SIDES = ("Sub-lentiform left", "Sub-lentiform right")


def test_the_pdf_is_one_page_however_many_warnings_there_are(analyzed, tmp_path) -> None:
    folder, result, _ = analyzed
    long = replace(result, warnings=[f"{n} " + "a warning of many words " * 6 for n in range(40)])
    write_pdf(long, (folder / "key_images.png").read_bytes(), tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 1


def test_the_report_says_at_what_sensitivity_the_threshold_was_set(analyzed) -> None:
    folder, result, _ = analyzed
    other = replace(result, patient=replace(result.patient, threshold_name="sensitivity97.5"))
    assert "set at sensitivity 95 %" in (folder / "report.html").read_text("utf-8")
    assert "set at sensitivity 97.5 %" in render(other, (folder / "key_images.png").read_bytes())


def test_both_reports_say_how_regions_were_made_what_was_left_out_and_when(analyzed, tmp_path, monkeypatch) -> None:
    folder, result, _ = analyzed
    made = {**result.provenance["region_origin"], SIDES[0]: "automatic, edited"}
    why = "The reader rejected Sub-lentiform right (wrong place)."
    left_out = [{"part": "sublentiform", "side": "right", "slice_index": None, "reason": why}]
    told = replace(result, provenance={**result.provenance, "region_origin": made}, not_classified=left_out)
    pictures, written = (folder / "key_images.png").read_bytes(), []
    monkeypatch.setattr(pdf, "_paragraph", lambda words, *a: written.append(words) or _paragraph(words, *a))
    write_pdf(told, pictures, tmp_path / "report.pdf")
    page = html.unescape(render(told, pictures))
    assert f"Not classified. Sub-lentiform right, all slices: {why}<" in page
    assert f"{SIDES[0]} (automatic, edited): " in "\n".join(written) and "automatic, edited</td>" in page
    assert "Trained on simulated patients only" in "\n".join(written) and "Trained on simulated patients only" in page
    assert result.side_words in page
    assert all(re.search(r"ade 20\d\d-\d\d-\d\d \d\d:\d\d", text) for text in ("\n".join(written), page))


def test_a_patient_is_named_only_where_asked(analyzed, tmp_path, monkeypatch) -> None:
    pictures, written = (analyzed[0] / "key_images.png").read_bytes(), []
    monkeypatch.setattr(pdf, "_paragraph", lambda words, *a: written.append(words) or _paragraph(words, *a))
    for name in ("M\u00fcller^J\u00f6rg <1961>", ""):
        written.clear()
        write_pdf(analyzed[1], pictures, tmp_path / "report.pdf", name)
        page = html.unescape(render(analyzed[1], pictures, name))
        assert (f"Patient: {name}" in page) == (f"Patient: {name}" in written) == bool(name)
        assert len(re.findall(rb"/Type /Page\b", (tmp_path / "report.pdf").read_bytes())) == 1


def test_a_score_that_rounds_up_to_the_threshold_is_not_shown_as_it() -> None:
    """Beside "threshold 30 %" stood a bar of "30 %" that was not above it."""
    assert percent(0.297, 0.301) == "<30 %" and percent(0.301, 0.301) == percent(0.302, 0.301) == "30 %"
    assert percent(0.26, 0.301) == "26 %" and percent(0.002, 0.003) == "<1 %"


def test_no_probability_is_told_as_certain() -> None:
    found = [percent(p) for p in (0.0, 0.0099, 0.01, 0.99, 0.9901, 1.0)]
    assert found == ["<1 %", "<1 %", "1 %", "99 %", ">99 %", ">99 %"]


def test_the_sides_are_told_by_their_means(analyzed) -> None:
    result, first = analyzed[1], analyzed[1].instances[0]
    for left, right, said in (
        ((0.6, 0.8), (0.2,), "right 20 %, left 70 %; left is 50 points higher."),
        ((0.2,), (0.3, 0.5), "right 40 %, left 20 %; right is 20 points higher."),
        ((0.50,), (0.54,), "right 54 %, left 50 %; the sides are alike."),
        ((0.50,), (), ""),
    ):
        both = [(side, p) for side, each in (("left", left), ("right", right)) for p in each]
        told = replace(result, instances=[replace(first, side=side, probability=p) for side, p in both])
        assert told.side_words == (said and f"Mean of the slices: {said}")


@pytest.fixture(scope="module")
def distinct(analyzed):
    """The result with numbers that cannot be taken for one another."""
    result = analyzed[1]
    numbers = {"probability": 0.37, "low": 0.12, "high": 0.83, "threshold": 0.42, "training_prevalence": 0.25}
    segments = {
        name: {**row, "volume_ml": 11.11 + n, "slices": 21 + n, "mean": 310.0 + n, "sd": 41.0 + n}
        for n, (name, row) in enumerate(result.statistics["segments"].items())
    }
    return replace(
        result,
        patient=replace(result.patient, **numbers, instances_above=2, instances=19),
        statistics={**result.statistics, "segments": segments},
        warnings=["Slices < 5 mm & few."],
        out_of_distribution=["The echo time lies outside."],
        pvs={**result.pvs, "left": 13, "right": 17, "foci": [{**result.pvs["foci"][0], "large": True}] * 3},
    )


def test_both_reports_show_the_results_own_numbers(distinct, analyzed, tmp_path, monkeypatch) -> None:
    pictures, written = (analyzed[0] / "key_images.png").read_bytes(), []
    monkeypatch.setattr(pdf, "_paragraph", lambda words, *a: written.append(words) or _paragraph(words, *a))
    write_pdf(distinct, pictures, tmp_path / "report.pdf")
    page = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", render(distinct, pictures))).split())
    for text in (page, " ".join(written)):
        assert "calibrated where 25 % were infected; range over fold models 12 % to 83 %. 2 of 19 slices" in text
        assert "PVS-like foci: left 13, right 17" in text and "Does not replace lumbar puncture" in text
        assert text.index("37 %") < text.index("12 % to 83 %")
        assert "Slices < 5 mm & few." in text and "The echo time lies outside." in text
    made = distinct.provenance["region_origin"]
    for name, row in distinct.statistics["segments"].items():
        assert f"{name} {row['volume_ml']:.2f} {row['slices']} {row['mean']:.0f} {row['sd']:.0f} {made[name]} " in page
        line = f"{name} ({made[name]}): {row['volume_ml']:.2f} ml, {row['slices']} slices, mean {row['mean']:.0f}, SD"
        assert f"{line} {row['sd']:.0f}" in "\n".join(written)
    assert "1 % 2 % 5 % 10 % 20 % 30 % 50 % it would be 2 % 3 % 8 % 16 % 31 % 43 % 64 %" in page
    assert "With a pre-test probability of 5 % it would be 8 %, with 20 % 31 %" in " ".join(written)
    assert "slices counted separately (threshold 42 %, " in page and "; 3 larger than 3 mm" in page
    first = distinct.contributions[2]
    assert f"{first.value:.4g} {100 * first.training_quantile:.0f} % {first.log_odds:+.2f}" in page


def test_no_probability_without_its_demonstration(distinct, analyzed, tmp_path, monkeypatch) -> None:
    """Beside the number in the same size, and again as a sentence; a clinical bundle's result says nothing of it."""
    pictures, written = (analyzed[0] / "key_images.png").read_bytes(), []
    monkeypatch.setattr(pdf, "_paragraph", lambda words, *a: written.append((words, *a)) or _paragraph(words, *a))
    for result in (distinct, replace(distinct, demonstration=False)):
        written.clear()
        write_pdf(result, pictures, tmp_path / "report.pdf")
        page, words = html.unescape(render(result, pictures)), "DEMONSTRATION, not meaningful for patients"
        shown = result.demonstration
        assert (f'class="verdict demonstration">{words}<' in page) == ('"banner">DEMONSTRATION: ' in page) == shown
        assert any(w == words and size >= 17 for w, size, *_ in written) == shown
        assert any(result.demonstration_text in w for w, *_ in written) == shown
        assert (result.demonstration_text in page) == shown and ("2 of 19 slices above threshold<" in page) != shown


def test_bars_stand_under_their_own_side_and_slice(distinct) -> None:
    """The patient's right first, in the colour of its outline; each bar is its own instance's probability."""
    colours = {side: SEGMENTS[f"Sub-lentiform {side}"].color for side in ("left", "right")}
    shapes = CHARTS["slices"](distinct, 390.0).contents
    chart = next(s for s in shapes if hasattr(s, "barSpacing"))
    pairs = next(s for s in shapes if hasattr(s, "colorNamePairs")).colorNamePairs
    assert [name for _, name in pairs] == ["right", "left"]
    for n, (colour, side) in enumerate(pairs):
        assert colour.rgb() == chart.bars[n].fillColor.rgb() == pytest.approx(colours[side])
        for number, value in zip(chart.categoryAxis.categoryNames, chart.data[n]):
            own = [i.probability for i in distinct.instances if (i.side, str(i.slice_index + 1)) == (side, number)]
            assert ([] if value is None else [value]) == pytest.approx([100 * p for p in own])
    line = next(s for s in shapes if hasattr(s, "x1"))
    assert line.y1 == line.y2 == pytest.approx(chart.y + 0.42 * chart.height)


def test_the_scale_and_what_drove_it_stand_where_their_numbers_are(distinct) -> None:
    track, spread, line, words, dot, axis = CHARTS["score"](distinct, 330.0).contents
    places = (dot.cx, spread.x, spread.x + spread.width, line.x1)
    assert [(x - axis._x) / axis._length for x in places] == pytest.approx([0.37, 0.12, 0.83, 0.42])
    assert words.text == "threshold 42 %" and (track.x, track.width) == (axis._x, axis._length)
    chart, words = CHARTS["drivers"](distinct, 390.0).contents
    assert words.text == "mean log-odds (right: towards infection)" and not chart.valueAxis.reverseDirection
    baseline, network, *features = distinct.contributions
    shown = [network, *features[:8]][::-1]
    assert baseline.name == "baseline" and network.log_odds and chart.data == [[c.log_odds for c in shown]]
    assert chart.categoryAxis.categoryNames == [readable(c.name) for c in shown]
    reds = [chart.bars[(0, n)].fillColor.red > 0.5 for n in range(len(shown))]
    assert reds == [c.log_odds > 0 for c in shown] and len(set(reds)) == 2


@pytest.mark.parametrize("name", CHARTS)
def test_words_of_charts_are_not_cut_off(analyzed, name) -> None:
    drawing = CHARTS[name](analyzed[1], 300.0)
    assert svg(drawing).count("<text") > 3

    def ends(shape, shift=0.0):
        """Left and right end of every text, in the drawing's points."""
        if hasattr(shape, "provideNode"):
            yield from ends(shape.provideNode(), shift)
        elif hasattr(shape, "contents"):
            for inner in shape.contents:
                yield from ends(inner, shift + shape.transform[4])
        elif hasattr(shape, "text"):
            width = stringWidth(shape.text, shape.fontName, shape.fontSize)
            start = {"start": 0.0, "end": -width, "middle": -width / 2}[shape.getProperties()["textAnchor"]]
            yield shift + shape.x + start, shift + shape.x + start + width

    found = [end for shape in drawing.contents for end in ends(shape)]
    assert min(left for left, _ in found) >= 0 and max(right for _, right in found) <= drawing.width


@pytest.fixture(scope="module")
def drawn(analyzed, simulated_image):
    """Result, volume, regions, and column and index of a key slice with the region on both sides."""
    folder, result, _ = analyzed
    volume = read_image(simulated_image)
    regions = read_regions(folder / result.files["regions"], volume)
    both = [all(regions.masks[name][k].any() for name in SIDES) for k in key_slices(result)]
    column = both.index(True)
    return result, volume, regions, column, key_slices(result)[column]


def _tile(drawn, maps: list[Volume], row: int) -> np.ndarray:
    """One tile of the key images as integers [y, x, RGB]."""
    result, volume, regions, column, _ = drawn
    sheet = np.asarray(Image.open(io.BytesIO(key_images(result, volume, regions, maps)))).astype(int)
    height = (sheet.shape[0] - 32 + 4) // (1 + len(maps)) - 4
    return sheet[32 + (height + 4) * row :, 342 * column :][:height, :338]


def test_contours_lie_where_the_region_is(drawn) -> None:
    tile, centres = _tile(drawn, [], 0), []
    for name in SIDES:
        colour = [round(255 * c) for c in SEGMENTS[name].color]
        centres.append(np.argwhere((np.abs(tile - colour) <= 1).all(axis=-1)).mean(axis=0))
    (left_y, left_x), (right_y, right_x) = centres
    assert left_x > 338 / 2 > right_x
    assert abs(left_y - right_y) < 60


def test_letters_and_titles_say_side_and_slice(drawn, monkeypatch) -> None:
    """The patient's right is on the left of the picture, as the contours are; the slices are the strongest ones."""
    result, _, _, column, k = drawn
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(pictures, "label", lambda sheet, text, centre, *a: said.append((text, centre[0])))
    _tile(drawn, [], 0)
    here = {text: x - 342 * column for text, x in said if 0 <= x - 342 * column < 338}
    assert set(here) == {"R", "L", f"slice {k + 1}"} and here["R"] < 338 / 2 < here["L"]
    first, odds = result.instances[0], ((2, 0.1), (3, 0.9), (4, 0.5), (5, -3.0), (6, 0.7), (7, 0.6), (3, 0.2))
    many = replace(result, instances=[replace(first, slice_index=n, log_odds=o) for n, o in odds])
    assert key_slices(many) == [3, 4, 6, 7]


def test_each_map_is_shown_where_it_is(drawn) -> None:
    _, volume, regions, _, k = drawn
    maps = []
    for name in SIDES:
        heat = np.zeros(volume.array.shape, np.float32)
        heat[k] = regions.masks[name][k]
        maps.append(Volume(heat, volume.grid))
    for row, on_the_right in ((1, True), (2, False)):  # the patient's left is on the right
        tile = _tile(drawn, maps, row)
        coloured = np.argwhere(tile.max(axis=-1) - tile.min(axis=-1) > 40)
        assert len(coloured) > 50 and ((coloured[:, 1] > 338 / 2) == on_the_right).all()


@pytest.mark.parametrize("name", ["Łukasz", "Ωνύχ", "Нина", "山田 太郎", "José ő"])
def test_a_pdf_does_not_name_a_patient_by_black_squares(analyzed, tmp_path, name) -> None:
    """None of the fonts that every PDF reader has knows these letters; the HTML report shows them all."""
    with pytest.raises(BadInput, match="no such letters"):
        write_report(analyzed[0] / "result.json", tmp_path / "report.pdf", name)
    assert not list(tmp_path.iterdir())
    write_report(analyzed[0] / "result.json", tmp_path / "report.html", name)
    assert name in (tmp_path / "report.html").read_text("utf-8")
    write_report(analyzed[0] / "result.json", tmp_path / "report.pdf", "José Müller-Ñandú, Dr. O’Neil no. 7, Ων")


def test_the_caption_says_what_each_row_is(analyzed) -> None:
    """The LoG map comes first, as on the panel; the rows of the picture are as many."""
    folder, result, _ = analyzed
    words = key_images_caption(result)
    assert words.index("Second row: LoG features, cells of") < words.index("Third row: Network, cells of 4.0 mm")
    assert words.count("not where infection is") == 2 == len(result.maps)
    assert words in html.unescape((folder / "report.html").read_text("utf-8"))
    alone = key_images_caption(replace(result, logmap=None))
    assert "Second row: Network" in alone and "LoG" not in alone
