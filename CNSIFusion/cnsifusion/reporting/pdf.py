"""The one-page PDF report: A4, with margins that leave it whole on Letter paper too."""

from __future__ import annotations

import io
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.graphics import renderPDF
from reportlab.lib.colors import Color
from reportlab.lib.pagesizes import A4
from reportlab.lib.rl_accel import unicode2T1
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import getFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from cnsifusion.analysis import PatientResult
from cnsifusion.analysis.result import percent
from cnsifusion.errors import BadInput
from cnsifusion.imaging import atomic_path
from cnsifusion.reporting.charts import CHARTS, DARK, GREY, ORANGE
from cnsifusion.reporting.html import CAVEAT, REGION_WORDS, created, prevalence, region_rows
from cnsifusion.reporting.pictures import key_images_caption

#: Edges of what is printed (points): inside a Letter page centred on the A4 sheet.
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, A4[0] - 48.0, 796.0, 50.0
_FULL = _RIGHT - _LEFT
_PROVENANCE_TOP = _BOTTOM + 17


def write_pdf(result: PatientResult, key_images: bytes, out: str | Path, patient: str = "") -> None:
    """Write the one-page report of ``result`` to ``out``, atomically; ``key_images`` is a PNG.

    ``patient`` is whom it names, "" for nobody. Raises BadInput for a name in letters that the PDF's fonts do not have.
    """
    if any(_is_square(letter) for letter in patient):
        raise BadInput("A PDF has no such letters for the name; write it in Western letters, or make the HTML report.")
    with atomic_path(out) as temporary:
        page = Canvas(str(temporary), pagesize=A4)
        page.setTitle("CNSIFusion report (research use only)")
        page.setAuthor("CNSIFusion")
        y = _head(page, result, patient)
        y = _chart(page, "score", result, _LEFT, y, _FULL)
        y = _key_images(page, result, key_images, y)
        charts = y - 4
        left = _chart(page, "slices", result, _LEFT, charts, 0.4 * _FULL)
        right = _chart(page, "drivers", result, _LEFT + 0.42 * _FULL, charts, 0.58 * _FULL)
        _foot(page, result, min(left, right) - 4)
        page.save()


def _is_square(letter: str) -> bool:
    """Whether a PDF shows a black square in place of ``letter``: none of the fonts that every reader has knows it."""
    font = getFont("Helvetica-Bold")
    ((used, code),) = unicode2T1(letter, [font, *font.substitutionFonts])
    return used.fontName == "ZapfDingbats" and code == b"n"


def _text(
    page: Canvas, words: str, size: float, x: float, y: float, width: float, colour: Color = DARK, bold: bool = False
) -> float:
    """Write ``words`` (plain text, wrapped) below ``y``; returns the lower edge."""
    paragraph = _paragraph(words, size, colour, bold)
    _, height = paragraph.wrap(width, y)
    paragraph.drawOn(page, x, y - height)
    return y - height


def _paragraph(words: str, size: float, colour: Color = DARK, bold: bool = False) -> Paragraph:
    font = "Helvetica-Bold" if bold else "Helvetica"
    style = ParagraphStyle("text", fontName=font, fontSize=size, leading=1.22 * size, textColor=colour)
    return Paragraph(escape(words).replace("\n", "<br/>"), style)


def _chart(page: Canvas, name: str, result: PatientResult, x: float, y: float, width: float) -> float:
    drawing = CHARTS[name](result, width)
    renderPDF.draw(drawing, page, x, y - drawing.height)
    return y - drawing.height


def _head(page: Canvas, result: PatientResult, patient: str) -> float:
    score = result.patient
    y = _text(page, "Infection probability from axial T2 MRI", 15, _LEFT, _TOP, _FULL, bold=True)
    if patient:
        y = _text(page, f"Patient: {patient}", 9, _LEFT, y - 2, _FULL, bold=True)
    y = _text(page, f"Report made {created()} \u00b7 {CAVEAT}", 7.5, _LEFT, y - 3, _FULL, GREY)
    number = _text(page, percent(score.probability, score.threshold), 28, _LEFT, y - 6, 110, bold=True)
    colour = ORANGE if result.demonstration else DARK
    verdict = _text(page, result.verdict, 17, _LEFT + 115, y - 8, _FULL - 115, colour, bold=True)
    facts = f"{result.demonstration_text} " if result.demonstration else ""
    facts += (
        f"Model score, calibrated where {prevalence(score)} were infected; range over fold models "
        f"{percent(score.low)} to {percent(score.high)}. "
        f"{result.slices_above}. "
        f"With a pre-test probability of 5 % it would be {percent(score.at_prevalence(0.05))}, "
        f"with 20 % {percent(score.at_prevalence(0.2))}. Region: {REGION_WORDS[result.region]}. Model: {result.model}."
    )
    return _text(page, facts, 8, _LEFT, min(number, verdict) - 8, _FULL)


def _key_images(page: Canvas, result: PatientResult, key_images: bytes, y: float) -> float:
    picture = ImageReader(io.BytesIO(key_images))
    columns, rows = picture.getSize()
    height = min(262.0, _FULL * rows / columns)
    width = height * columns / rows
    page.drawImage(picture, _LEFT + (_FULL - width) / 2, y - height, width, height)
    return _text(page, key_images_caption(result), 7, _LEFT, y - height - 2, _FULL, GREY)


def _foot(page: Canvas, result: PatientResult, y: float) -> None:
    half = 0.48 * _FULL
    lines = [
        f"{row['name']} ({row['origin']}): {row['volume_ml']:.2f} ml, {row['slices']} "
        f"{'slice' if row['slices'] == 1 else 'slices'}, mean {row['mean']:.0f}, SD {row['sd']:.0f}"
        for row in region_rows(result)
    ]
    lines.append(f"PVS-like foci: left {result.pvs['left']}, right {result.pvs['right']}")
    below = _text(page, "Regions", 9, _LEFT, y, half, bold=True)
    _text(page, "\n".join(lines), 7, _LEFT, below - 2, half)
    column = _LEFT + 0.52 * _FULL
    below = _text(page, "Warnings", 9, column, y, half, bold=True)
    _text(page, _warnings(result, half, below - _PROVENANCE_TOP), 7, column, below - 2, half)
    _text(page, _provenance(result), 6.5, _LEFT, _PROVENANCE_TOP, _FULL, GREY)


def _warnings(result: PatientResult, width: float, room: float) -> str:
    """As many warnings as ``room`` (points) holds, and how many there are when that is not all."""
    warnings = [f"- {w}" for w in (*result.warnings, *result.out_of_distribution)] or ["none"]
    for shown in range(len(warnings), 0, -1):
        more = [f"... {len(warnings)} warnings in all: see the HTML report"] if shown < len(warnings) else []
        words = "\n".join([*warnings[:shown], *more])
        if _paragraph(words, 7).wrap(width, room)[1] <= room:
            break
    return words


def _provenance(result: PatientResult) -> str:
    p = result.provenance
    hashes = ", ".join(f"{what} {p[f'{what}_sha256'][:16]}" for what in ("image", "regions", "bundle"))
    return (
        f"{hashes} ({p['bundle_name']}, backbone {p['backbone_origin']}); "
        f"CNSIFusion {p['versions']['cnsifusion']}, radiomics {p['radiomics']['engine']} "
        f"{p['radiomics']['engine_version']}; input check {result.check['verdict']}"
    )
