"""Small pictures and texts of the panel: score scale, bars in tables, lines with their level; what is in sight."""

from html import escape

import qt

#: From Okabe and Ito's palette; every level also has its sign, so colour is never the only carrier.
_LEVELS = {"info": ("", ""), "warn": ("#9a5b00", "⚠ "), "error": ("#b0003a", "✖ ")}
_DARK_LEVELS = {"info": ("", ""), "warn": ("#e69f00", "⚠ "), "error": ("#ff8fab", "✖ ")}
_MARGIN = 4
_BAR, _BAR_ABOVE, _RANGE = qt.QColor("#0072b2"), qt.QColor("#d55e00"), qt.QColor("#56b4e9")


def linesText(lines: list) -> str:
    """Lines of the panel's view as rich text, each with its level's sign and colour."""
    parts = []
    for line in lines:
        color, sign = _look(line.level)
        style = f' style="color:{color}"' if color else ""
        parts.append(f"<div{style}>{sign}{escape(line.text)}</div>")
    return "".join(parts)


def levelColor(level: str) -> str:
    """The colour (HTML) of a line's level in the application's style, "" for the text's own."""
    return _look(level)[0]


def _look(level: str) -> tuple:
    return (_DARK_LEVELS if isDark() else _LEVELS)[level]


def scrollTo(widget) -> None:
    """Scroll the module panel until the widget stands at its top: what lies below it can be seen."""
    area = _scrollArea(widget)
    if area is not None:
        area.verticalScrollBar().value = widget.mapTo(area.widget(), qt.QPoint(0, 0)).y() - _MARGIN


def bringIntoSight(widget) -> None:
    """Scroll the module panel no farther than it takes to see the widget."""
    area = _scrollArea(widget)
    if area is not None:
        area.ensureWidgetVisible(widget, 0, _MARGIN)


def _scrollArea(widget):
    area = widget.parent()
    while area is not None and not area.inherits("QScrollArea"):
        area = area.parent()
    return area


def appearance() -> tuple:
    """What pictures and coloured words are drawn for: the style, and the letters with their size."""
    return isDark(), qt.QApplication.font().toString()


def isDark() -> bool:
    """Whether the application's style is a dark one."""
    return qt.QApplication.palette().window().color().lightness() < 128


def scale(result, width: int) -> qt.QPixmap:
    """The probability with its range over fold models on a line from 0 to 100 %, the threshold marked."""
    letters = qt.QFontMetrics(qt.QApplication.font())
    box, axis = letters.horizontalAdvance("100 %") + 4, 18
    left = right = box // 2
    height = axis + 8 + letters.height()
    pixmap, painter = _canvas(width, height)
    ink = qt.QApplication.palette().windowText().color()

    def x(value: float) -> int:
        return round(left + value * (width - left - right))

    painter.setPen(qt.QPen(ink, 1))
    painter.drawLine(x(0), axis, x(1), axis)
    for percent in (0, 25, 50, 75, 100):
        painter.drawLine(x(percent / 100), axis - 3, x(percent / 100), axis + 3)
        text = f"{percent} %"
        place = qt.QRect(x(percent / 100) - box // 2, axis + 8, box, letters.height())
        painter.drawText(place, qt.Qt.AlignHCenter, text)
    painter.setPen(qt.Qt.NoPen)
    painter.setBrush(qt.QBrush(_RANGE))
    painter.drawRect(x(result.low), axis - 4, max(x(result.high) - x(result.low), 2), 9)
    painter.setPen(qt.QPen(ink, 2, qt.Qt.DashLine))
    painter.drawLine(x(result.threshold), axis - 14, x(result.threshold), axis + 10)
    painter.setPen(qt.QPen(ink, 1))
    painter.setBrush(qt.QBrush(_BAR_ABOVE if result.value >= result.threshold else _BAR))
    painter.drawEllipse(qt.QPoint(x(result.value), axis), 7, 7)
    painter.end()
    return pixmap


def sideBar(row, threshold: float, toTheLeft: bool) -> qt.QPixmap:
    """A slice's probability as a number and a bar with a tick at the threshold, growing to the left or to the right."""
    letters = qt.QFontMetrics(qt.QApplication.font())
    number, height = letters.horizontalAdvance("<99 %") + 6, max(18, letters.height())
    length, width = 88, 88 + number
    pixmap, painter = _canvas(width, height)
    ink = qt.QApplication.palette().windowText().color()

    def place(share: float) -> int:
        return width - round(share * length) if toTheLeft else round(share * length)

    ends = sorted((place(0), place(row.probability)))
    painter.fillRect(ends[0], 4, ends[1] - ends[0], height - 8, _BAR_ABOVE if row.aboveThreshold else _BAR)
    painter.setPen(qt.QPen(ink, 2))
    painter.drawLine(place(threshold), 0, place(threshold), height)
    box = qt.QRect(0 if toTheLeft else length, 0, number, height)
    painter.drawText(box, qt.Qt.AlignCenter, row.percent)
    painter.end()
    return pixmap


def placeStrip(place: float) -> qt.QPixmap:
    """Where a value lies in the training distribution (0 lowest, 1 highest); the middle half is shaded."""
    width, height = 70, 16
    pixmap, painter = _canvas(width, height)
    ink, left, length = qt.QApplication.palette().windowText().color(), 5, width - 10
    painter.setPen(qt.QPen(ink, 1))
    painter.drawLine(left, height // 2, left + length, height // 2)
    painter.fillRect(left + length // 4, height // 2 - 3, length // 2, 7, _RANGE)
    painter.setBrush(qt.QBrush(ink))
    painter.drawEllipse(qt.QPoint(left + round(place * length), height // 2), 4, 4)
    painter.end()
    return pixmap


def signedBar(value: float, largest: float) -> qt.QPixmap:
    """A bar to the right (towards infection) or to the left of the middle, as long as ``value`` of ``largest``."""
    width, height = 190, 16
    pixmap, painter = _canvas(width, height)
    middle, length = width // 2, round(value / largest * (width // 2 - 1)) if largest > 0 else 0
    start, color = (middle, _BAR_ABOVE) if length > 0 else (middle + length, _BAR)
    painter.fillRect(start, 3, abs(length), height - 6, color)
    painter.setPen(qt.QPen(qt.QApplication.palette().windowText().color(), 1))
    painter.drawLine(middle, 0, middle, height)
    painter.end()
    return pixmap


def swatch(color: tuple) -> qt.QPixmap:
    """A square of a segment's colour (RGB 0-1)."""
    pixmap = qt.QPixmap(14, 14)
    pixmap.fill(qt.QColor.fromRgbF(*color))
    return pixmap


def _canvas(width: int, height: int) -> tuple:
    pixmap = qt.QPixmap(width, height)
    pixmap.fill(qt.Qt.transparent)
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    return pixmap, painter
