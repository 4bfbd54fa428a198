"""The effect's controls: region, tool, tolerance, add or erase, the list of PVS-like foci, and what to know now."""

from html import escape
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

_FORM = Path(__file__).with_name("CNSISegmentEditor.ui")
_WARN = "#b36b00"


class Options:
    """Draws the controller of its effect and hands it the reader's choices."""

    def __init__(self, effect):
        self._effect = effect
        self._frame = slicer.util.loadUI(str(_FORM))
        effect.scriptedEffect.addOptionsWidget(self._frame)
        self.ui = slicer.util.childWidgetVariables(self._frame)
        self._tools = {}
        self._operations = {}
        self._names = []
        self._candidates = []
        self.ui.regionCombo.connect("activated(int)", self._onRegion)
        self.ui.addButton.connect("clicked()", lambda: self._setErase(False))
        self.ui.eraseButton.connect("clicked()", lambda: self._setErase(True))
        self.ui.amountSlider.connect("valueChanged(double)", self._onAmount)
        self.ui.neighboursBox.connect("valueChanged(int)", self._onNeighbours)
        self.ui.alignButton.connect("clicked()", self._onAlign)
        self.ui.candidateTable.connect("cellClicked(int,int)", self._onCandidate)
        self.ui.alignButton.visible = False
        _columns(self.ui.candidateTable, [_("Use"), _("Side"), _("Slice"), _("mm"), _("Contrast")])

    def cleanup(self) -> None:
        """Let go of the effect; may be called twice."""
        self._effect = None

    def explain(self, text: str) -> None:
        """Say why nothing happens."""
        self.ui.messageLabel.text = f'<span style="color:{_WARN}">⚠ {escape(text)}</span>' if text else ""

    def showMessage(self) -> None:
        """The controller's sentence of this moment."""
        self.explain(self._effect.controller.message)

    def showAlignment(self, reason: str, offer: bool) -> None:
        """Why the view under the mouse cannot be used, and the button that helps."""
        self.ui.alignButton.visible = offer
        if reason:
            self.explain(reason)

    def draw(self) -> None:
        """Show the controller's state."""
        controller = self._effect.controller
        if controller is None:
            return
        self._drawRegions(controller)
        self._drawButtons(self._tools, self.ui.toolLayout, controller.available, self._onTool, checkable=True)
        for key, button in self._tools.items():
            button.checked = key == controller.tool
        self._drawButtons(self._operations, self.ui.operationLayout, controller.operations, self._onOperation)
        self.ui.addButton.checked, self.ui.eraseButton.checked = not controller.erase, controller.erase
        self._drawAmount(controller.slider)
        _silently(self.ui.neighboursBox, lambda box: box.setValue(controller.neighbours))
        self._drawCandidates(controller.candidates)
        self.ui.statisticsLabel.text = escape(controller.statistics)
        self.showMessage()

    def _drawRegions(self, controller) -> None:
        from cnsifusion.roi.names import SEGMENTS

        if not self._names:
            self._names = list(SEGMENTS)
            self.ui.regionCombo.addItems(self._names)
        known = controller.segmentName in self._names
        self.ui.regionCombo.currentIndex = self._names.index(controller.segmentName) if known else -1

    def _drawButtons(self, buttons: dict, layout, wanted: list, action, checkable: bool = False) -> None:
        keys = [item.key for item in wanted]
        if list(buttons) != keys:
            for button in buttons.values():
                button.setParent(None)
                button.deleteLater()
            buttons.clear()
            for key in keys:
                buttons[key] = button = qt.QPushButton()
                button.checkable = checkable
                button.connect("clicked()", lambda key=key: action(key))
                layout.addWidget(button)
        for item in wanted:
            button = buttons[item.key]
            button.text, button.toolTip, button.enabled = _(item.label), _(item.tooltip), item.enabled

    def _drawAmount(self, slider: dict) -> None:
        self.ui.amountSlider.visible = self.ui.amountLabel.visible = bool(slider)
        if not slider:
            return
        self.ui.amountLabel.text = _(slider["label"])
        self.ui.amountSlider.toolTip = _(slider["tooltip"])

        def change(widget):
            widget.minimum, widget.maximum = slider["minimum"], slider["maximum"]
            widget.singleStep = slider["step"]
            widget.value = slider["value"]

        _silently(self.ui.amountSlider, change)

    def _drawCandidates(self, candidates: list) -> None:
        table = self.ui.candidateTable
        table.visible = bool(candidates)
        if candidates == self._candidates:
            return
        self._candidates = candidates
        table.setRowCount(len(candidates))
        for number, found in enumerate(candidates):
            size = f"{found.diameterMm:.1f}" + (_(" large: lacune?") if found.large else "")
            used, place = "✓" if found.accepted else "", str(found.sliceIndex + 1)
            texts = (used, _(found.side), place, size, f"{found.contrast:.1f}")
            for column, text in enumerate(texts):
                table.setItem(number, column, qt.QTableWidgetItem(text))

    # The reader's choices

    def _onRegion(self, index: int) -> None:
        if self._effect.controller is not None:
            self._effect.selectSegment(self._names[index])

    def _onTool(self, key: str) -> None:
        self._effect.controller.tool = key
        self._changed()

    def _onOperation(self, key: str) -> None:
        self._effect.run(lambda: self._effect.controller.operate(key))

    def _setErase(self, erase: bool) -> None:
        if self._effect.controller is not None:
            self._effect.controller.erase = erase
            self._changed()

    def _onAmount(self, value: float) -> None:
        if self._effect.controller is not None:
            self._effect.controller.setSlider(value)
            self._changed()

    def _onNeighbours(self, count: int) -> None:
        if self._effect.controller is not None:
            self._effect.controller.neighbours = count
            self._changed()

    def _onAlign(self) -> None:
        if self._effect.controller is not None:
            self._effect.alignViews()
            self.showAlignment("", offer=False)
            self.explain("")

    def _onCandidate(self, row: int, column: int) -> None:
        found = self._candidates[row]
        x, y, z = found.lps
        slicer.vtkMRMLSliceNode.JumpAllSlices(
            slicer.mrmlScene, -x, -y, z, slicer.vtkMRMLSliceNode.OffsetJumpSlice
        )
        if column == 0:
            self._effect.run(lambda: self._effect.controller.toggleCandidate(row))

    def _changed(self) -> None:
        self._effect.clearOutlines()
        self.draw()


def _columns(table, titles: list) -> None:
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().hide()
    table.toolTip = _("Click a row to go there; click in the first column to accept or reject it.")


def _silently(widget, change) -> None:
    blocked = widget.blockSignals(True)
    change(widget)
    widget.blockSignals(blocked)
