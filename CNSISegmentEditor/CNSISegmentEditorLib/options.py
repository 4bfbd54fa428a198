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
        self._frame.layout().setContentsMargins(0, 0, 0, 0)
        effect.scriptedEffect.addOptionsWidget(self._frame)
        self.ui = slicer.util.childWidgetVariables(self._frame)
        self._tools = {}
        self._names = []
        self._foci = []
        self._amount = "tolerance"
        self.ui.regionCombo.connect("activated(int)", self._onRegion)
        self.ui.addButton.connect("clicked()", lambda: self._setErase(False))
        self.ui.eraseButton.connect("clicked()", lambda: self._setErase(True))
        self.ui.amountSlider.connect("valueChanged(double)", self._onAmount)
        self.ui.neighboursBox.connect("valueChanged(int)", self._onNeighbours)
        self.ui.alignButton.connect("clicked()", self._onAlign)
        self.ui.fociTable.connect("cellClicked(int,int)", self._onFocus)
        self.ui.alignButton.visible = False
        _columns(self.ui.fociTable, [_("Use"), _("PVS-like focus")])

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
        self._drawTools(controller)
        self.ui.addButton.checked, self.ui.eraseButton.checked = not controller.erase, controller.erase
        _silently(self.ui.neighboursBox, lambda box: box.setValue(controller.neighbours))
        self._drawFoci(controller)
        self.showMessage()

    def _drawRegions(self, controller) -> None:
        from cnsifusion.roi.names import SEGMENTS

        if not self._names:
            self._names = list(SEGMENTS)
            self.ui.regionCombo.addItems(self._names)
        known = self._effect.segmentName in self._names
        self.ui.regionCombo.currentIndex = self._names.index(controller.segmentName) if known else -1

    def _drawTools(self, controller) -> None:
        from cnsifusion.mrml.tools import NONE, PVS, TOOLS

        keys = [key for key in controller.available if key != NONE]
        if list(self._tools) != keys:
            for button in self._tools.values():
                button.setParent(None)
                button.deleteLater()
            self._tools = {key: self._toolButton(key, TOOLS[key]) for key in keys}
        for key, button in self._tools.items():
            button.checked = key == controller.tool
        slider = TOOLS[controller.tool].slider
        self.ui.amountSlider.visible = self.ui.amountLabel.visible = bool(slider)
        self.ui.amountLabel.text = _(slider)
        self._amount = "sensitivity" if controller.tool == PVS else "tolerance"
        _silently(self.ui.amountSlider, lambda slider: slider.setValue(getattr(controller, self._amount)))

    def _toolButton(self, key: str, tool):
        button = qt.QPushButton(_(tool.label))
        button.toolTip, button.checkable = _(tool.tooltip), True
        button.connect("clicked()", lambda: self._onTool(key))
        self.ui.toolFrame.layout().addWidget(button)
        return button

    def _drawFoci(self, controller) -> None:
        from cnsifusion.mrml.tools import PVS

        table = self.ui.fociTable
        table.visible = controller.tool == PVS
        self._foci = controller.focusRows() if controller.tool == PVS else []
        table.setRowCount(len(self._foci))
        for number, row in enumerate(self._foci):
            for column, text in enumerate(("✓" if row.accepted else "", _(row.text))):
                table.setItem(number, column, qt.QTableWidgetItem(text))

    # The reader's choices

    def _onRegion(self, index: int) -> None:
        if self._effect.controller is not None:
            self._effect.selectSegment(self._names[index])

    def _onTool(self, key: str) -> None:
        self._effect.controller.tool = key
        self._changed()

    def _setErase(self, erase: bool) -> None:
        if self._effect.controller is not None:
            self._effect.controller.erase = erase
            self._changed()

    def _onAmount(self, value: float) -> None:
        if self._effect.controller is not None:
            setattr(self._effect.controller, self._amount, value)
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

    def _onFocus(self, number: int, column: int) -> None:
        row, controller = self._foci[number], self._effect.controller
        x, y, z = row.position
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, -x, -y, z, slicer.vtkMRMLSliceNode.OffsetJumpSlice)
        if column == 0:
            self._effect.run(lambda: controller.toggle(controller.foci[row.index]))

    def _changed(self) -> None:
        self._effect.controller.forget()
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
