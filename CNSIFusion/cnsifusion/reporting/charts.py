"""The report's charts, drawn once and used as SVG on the page and as vectors in the PDF: score, slices, drivers.

Colours are Okabe and Ito's, readable for colour-blind people. Sizes are in points (1/72 inch).
"""

from __future__ import annotations

from reportlab.graphics import renderSVG
from reportlab.graphics.charts.axes import XValueAxis
from reportlab.graphics.charts.barcharts import HorizontalBarChart, VerticalBarChart
from reportlab.graphics.charts.legends import Legend
from reportlab.graphics.shapes import Circle, Drawing, Line, Rect, String
from reportlab.lib.colors import Color, HexColor, white
from reportlab.pdfbase.pdfmetrics import stringWidth

from cnsifusion.analysis import InstanceResult, PatientResult
from cnsifusion.analysis.result import percent, readable
from cnsifusion.roi.names import SEGMENTS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT

BLUE, ORANGE, GREEN, GREY, DARK = (HexColor(c) for c in ("#0072B2", "#D55E00", "#009E73", "#777777", "#222222"))
#: Sides of region B as its outlines are coloured in the pictures beside the chart.
_SIDES = {s.side: Color(*s.color) for s in map(SEGMENTS.__getitem__, (SUBLENTIFORM_RIGHT, SUBLENTIFORM_LEFT))}
_PARTS = [BLUE, ORANGE, GREEN, *(HexColor(c) for c in ("#CC79A7", "#E69F00", "#56B4E9", "#F0E442"))]
_RANGE, _TRACK = HexColor("#99C7E0"), HexColor("#E8E8E8")
_FEATURES_SHOWN = 8
_SMALL = 8


def score_scale(result: PatientResult, width: float) -> Drawing:
    """The probability with its range over fold models on a 0-100 % scale, and the threshold."""
    score, drawing = result.patient, Drawing(width, 64)
    left, bottom, length, height = 8.0, 28.0, width - 30.0, 16.0

    def place(probability: float) -> float:
        return left + probability * length

    drawing.add(Rect(left, bottom, length, height, fillColor=_TRACK, strokeColor=None))
    drawing.add(
        Rect(place(score.low), bottom, place(score.high) - place(score.low), height, fillColor=_RANGE, strokeColor=None)
    )
    threshold = place(score.threshold)
    drawing.add(_dashed(threshold, bottom - 5, threshold, bottom + height + 5))
    anchor = "start" if score.threshold < 0.75 else "end"
    words = f"threshold {percent(score.threshold)}"
    drawing.add(String(threshold, bottom + height + 8, words, fontSize=_SMALL, fillColor=DARK, textAnchor=anchor))
    drawing.add(Circle(place(score.probability), bottom + height / 2, 6, fillColor=BLUE, strokeColor=white))
    axis = XValueAxis()
    axis.setPosition(left, bottom - 4, length)
    axis.valueMin, axis.valueMax, axis.valueStep = 0, 100, 20
    axis.labelTextFormat = "%d %%"
    axis.labels.fontSize = _SMALL
    axis.configure([(0, 100)])
    drawing.add(axis)
    return drawing


def by_slice(result: PatientResult, width: float) -> Drawing:
    """Every instance's probability, by side (or part) and slice; right stands on the left, as in the axial view."""
    groups = _groups(result)
    slices = sorted({i.slice_index for i in result.instances})
    drawing, chart = Drawing(width, 150), VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 42, 34, width - 54, 92
    chart.data = [[100 * m[k].probability if k in m else None for k in slices] for m in groups.values()]
    chart.categoryAxis.categoryNames = [str(k + 1) for k in slices]
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = _SMALL
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 0, 100, 25
    chart.valueAxis.labelTextFormat = "%d %%"
    chart.groupSpacing, chart.barSpacing = 6, 1
    colours = _colours(result, groups)
    for n, colour in enumerate(colours):
        chart.bars[n].fillColor, chart.bars[n].strokeColor = colour, GREY
        chart.bars[n].strokeWidth = 0.5
    drawing.add(chart)
    height = chart.y + result.patient.threshold * chart.height
    drawing.add(_dashed(chart.x, height, chart.x + chart.width, height))
    drawing.add(String(chart.x + chart.width, height + 3, "threshold", fontSize=7, fillColor=DARK, textAnchor="end"))
    drawing.add(String(chart.x + chart.width / 2, 8, "slice (1 = lowest)", fontSize=_SMALL, textAnchor="middle"))
    legend = Legend()
    legend.x, legend.y, legend.boxAnchor, legend.alignment = chart.x, 148, "nw", "right"
    legend.fontSize, legend.dx, legend.dy, legend.columnMaximum, legend.deltax = _SMALL, 8, 8, 1, 60
    legend.strokeWidth, legend.strokeColor = 0, None
    legend.colorNamePairs = list(zip(colours, groups))
    drawing.add(legend)
    return drawing


def drivers(result: PatientResult, width: float) -> Drawing:
    """Average contributions to the instances' log-odds: the network as one block, then the strongest features."""
    network = [c for c in result.contributions if c.name == "network" and c.log_odds != 0]
    features = [c for c in result.contributions if c.name not in ("baseline", "network")][:_FEATURES_SHOWN]
    parts = [*network, *features][::-1]
    drawing, chart = Drawing(width, 46 + 16 * len(parts)), HorizontalBarChart()
    names = 12 + max((stringWidth(readable(part.name), "Helvetica", 7) for part in parts), default=0)
    chart.x, chart.y, chart.width, chart.height = names, 36, width - names - 12, 16 * len(parts)
    chart.data = [[part.log_odds for part in parts]]
    chart.categoryAxis.categoryNames = [readable(part.name) for part in parts]
    chart.categoryAxis.labelAxisMode = "low"
    chart.categoryAxis.labels.fontName = chart.valueAxis.labels.fontName = "Helvetica"
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = 7
    chart.valueAxis.labelTextFormat = "%.1f"
    chart.valueAxis.forceZero = True
    chart.valueAxis.maximumTicks = 6
    for n, part in enumerate(parts):
        chart.bars[(0, n)].fillColor = ORANGE if part.log_odds > 0 else BLUE
        chart.bars[(0, n)].strokeColor = None
    drawing.add(chart)
    words = "mean log-odds (right: towards infection)"
    drawing.add(String(width - 12, 8, words, fontSize=_SMALL, textAnchor="end"))
    return drawing


#: The charts of a report by name.
CHARTS = {"score": score_scale, "slices": by_slice, "drivers": drivers}


def svg(drawing: Drawing) -> str:
    """A chart as the text of an SVG file."""
    return renderSVG.drawToString(drawing)


def _groups(result: PatientResult) -> dict[str, dict[int, InstanceResult]]:
    """Instances by slice, by the name of their side (sub-lentiform) or part and side (ventricles); right first."""
    groups: dict[str, dict[int, InstanceResult]] = {}
    for i in sorted(result.instances, key=lambda i: (i.part, i.side != "right")):
        name = i.side if result.region == "sublentiform" else f"{i.part} {i.side}".replace(" none", "")
        groups.setdefault(name, {})[i.slice_index] = i
    return groups


def _colours(result: PatientResult, groups: dict[str, dict[int, InstanceResult]]) -> list[Color]:
    if result.region == "sublentiform":
        return [_SIDES[name] for name in groups]
    return [_PARTS[n % len(_PARTS)] for n in range(len(groups))]


def _dashed(x0: float, y0: float, x1: float, y1: float) -> Line:
    return Line(x0, y0, x1, y1, strokeColor=DARK, strokeWidth=1, strokeDashArray=(3, 2))
