"""The effect's controls: region, tool and its settings, actions, PVS-like foci, figures, and what to know now."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

_FORM = Path(__file__).with_name("CNSISegmentEditor.ui")
_ROW_HEIGHT = 22
#: Pixels below the actions, for the region's figures.
_BELOW = 10
#: Room for each tool's controls: a panel that grew with some of them would resize the views under the mouse.
_WIDTH, _BUTTON_WIDTH = 350, 52


class Options:
    """Draws the controller of its effect and hands it the reader's choices."""

    def __init__(self, effect):
        self._effect = effect
        self._frame = slicer.util.loadUI(str(_FORM))
        self._frame.layout().setContentsMargins(0, 0, 0, 0)
        self._frame.minimumWidth = _WIDTH
        effect.scriptedEffect.addOptionsWidget(self._frame)
        self.ui = slicer.util.childWidgetVariables(self._frame)
        self._tools, self._actions = {}, {}
        self._names = []
        self._foci = []
        self._amount = "tolerance"
        self._agreement = []
        self.ui.regionCombo.connect("activated(int)", self._onRegion)
        self.ui.addButton.connect("clicked()", lambda: self._set("erase", False))
        self.ui.eraseButton.connect("clicked()", lambda: self._set("erase", True))
        self.ui.amountSlider.connect("valueChanged(double)", lambda value: self._set(self._amount, value))
        self.ui.neighboursBox.connect("valueChanged(int)", lambda count: self._set("neighbours", count))
        self.ui.alignButton.connect("clicked()", self._onAlign)
        self.ui.fociTable.connect("cellClicked(int,int)", self._onFocus)
        self.ui.leakGuardBox.connect("clicked(bool)", lambda guarded: self._set("leakGuard", guarded))
        self.ui.bothSidesBox.connect("clicked(bool)", lambda both: self._set("bothSides", both))
        self.ui.otherSelector.setMRMLScene(slicer.mrmlScene)
        self.ui.otherSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onOther)
        self.ui.alignButton.visible = False
        _narrow(self.ui.addButton)
        _narrow(self.ui.eraseButton)
        self.ui.toolFrame.layout().setContentsMargins(0, 0, 0, 0)
        self.ui.actionFrame.layout().setContentsMargins(0, 0, 0, 0)
        _columns(self.ui.fociTable, [_("Use"), _("Side"), _("Slice"), _("Size"), _("Brightness")])

    def cleanup(self) -> None:
        """Let go of the effect and the scene; may be called twice."""
        if self._effect is not None:
            self.ui.otherSelector.disconnect("currentNodeChanged(vtkMRMLNode*)", self._onOther)
            self.ui.otherSelector.setMRMLScene(None)
        self._effect = None

    def bringIntoSight(self) -> None:
        """Scroll the module panel to the tools: on a small screen they, and what they say, lie below its edge."""
        qt.QTimer.singleShot(0, self._scroll)  # when they have their place

    def handKeysTo(self, viewWidget) -> None:
        """The keys belong to the view under the mouse, not to the button of the panel that was clicked last. A field
        keeps what is being typed until the view is clicked.
        """
        focus, area = qt.QApplication.focusWidget(), self._area()
        if focus is None or area is None or focus.testAttribute(qt.Qt.WA_InputMethodEnabled):
            return
        if area.isAncestorOf(focus):
            viewWidget.sliceView().VTKWidget().setFocus()

    def _scroll(self) -> None:
        area = self._area() if self._effect is not None else None
        if area is not None:
            area.ensureWidgetVisible(self.ui.actionFrame, 0, _BELOW)

    def _area(self):
        """The module panel's scroll area around the tools."""
        area = self._frame.parent()
        while area is not None and not area.inherits("QScrollArea"):
            area = area.parent()
        return area

    def explain(self, text: str) -> None:
        """Say why nothing happens."""
        self.ui.messageLabel.text = f"⚠ {text}" if text else ""

    def showMessage(self) -> None:
        """The controller's sentence of this moment."""
        self.explain(_(self._effect.controller.message))

    def showAlignment(self, reason: str, offer: bool) -> None:
        """Why the view under the mouse cannot be used, and the button that helps."""
        self.ui.alignButton.visible = offer
        if reason:
            self.explain(reason)

    def compare(self) -> None:
        """Compare anew with the chosen other reader, if there is one, and show everything."""
        controller, other = self._effect.controller, self.ui.otherSelector.currentNode()
        self._agreement = []
        if other is None:
            self.draw()
            return
        from cnsifusion.mrml.readings import agreementLines, otherReader
        from cnsifusion.mrml.segmentation import regionsFromNode

        def agree() -> None:
            own = regionsFromNode(controller.segmentationNode, controller.volumeNode)
            self._agreement = agreementLines(own, otherReader(other, controller.volumeNode))

        self._effect.run(agree)

    def draw(self) -> None:
        """Show the controller's state."""
        controller = self._effect.controller
        if controller is None:
            return
        self._drawRegions(controller)
        self._drawTools(controller)
        _press(self.ui.addButton, not controller.erase)
        _press(self.ui.eraseButton, controller.erase)
        _silently(self.ui.neighboursBox, lambda box: box.setValue(controller.neighbours))
        self._drawActions()
        self._drawFoci(controller)
        lines = [*(controller.statistics() if self._effect.segmentName in self._names else []), *self._agreement]
        self.ui.statisticsLabel.text = "\n".join(_(line) for line in lines)
        self.ui.statisticsLabel.visible = bool(lines)
        self.showMessage()

    def _drawRegions(self, controller) -> None:
        from cnsifusion.roi.names import SEGMENTS

        if not self._names:
            self._names = list(SEGMENTS)
            self.ui.regionCombo.addItems(self._names)
        known = self._effect.segmentName in self._names
        self.ui.regionCombo.currentIndex = self._names.index(controller.segmentName) if known else -1

    def _drawTools(self, controller) -> None:
        from cnsifusion.mrml.tools import CSF, MOVE, NONE, PVS, TOOLS, mayTakeBothSides

        keys = [key for key in controller.available if key != NONE]
        if list(self._tools) != keys:
            for button in self._tools.values():
                button.setParent(None)
                button.deleteLater()
            self._tools = {key: self._toolButton(key, TOOLS[key]) for key in keys}
        for key, button in self._tools.items():
            _press(button, key == controller.tool)
        slider = TOOLS[controller.tool].slider
        self.ui.amountSlider.visible = self.ui.amountLabel.visible = bool(slider)
        self.ui.amountLabel.text = _(slider)
        self.ui.addButton.visible = self.ui.eraseButton.visible = controller.tool != MOVE
        for widget in (self.ui.leakGuardBox, self.ui.neighboursLabel, self.ui.neighboursBox):
            widget.visible = controller.tool == CSF
        self.ui.leakGuardBox.checked = controller.leakGuard
        offered = mayTakeBothSides(controller.tool, controller.segmentName, controller.erase)
        self.ui.bothSidesBox.visible, self.ui.bothSidesBox.checked = offered, controller.bothSides
        self._amount = "sensitivity" if controller.tool == PVS else "tolerance"
        _silently(self.ui.amountSlider, lambda slider: slider.setValue(getattr(controller, self._amount)))

    def _toolButton(self, key: str, tool):
        button = qt.QPushButton(_(tool.label))
        button.toolTip, button.checkable = _(tool.tooltip), True
        _narrow(button)
        button.connect("clicked()", lambda: self._set("tool", key))
        self.ui.toolFrame.layout().addWidget(button)
        return button

    def _drawActions(self) -> None:
        """What is done to the whole region; made once, when the engine is there."""
        from cnsifusion.mrml.tools import ACTIONS, REJECT_REASONS

        if self._actions:
            return
        for key, action in ACTIONS.items():
            self._actions[key] = self._actionButton(_(action.label), _(action.tooltip))
            self._actions[key].connect("clicked()", lambda key=key: self._effect.onWhole(lambda tools: tools.act(key)))
        tooltip = _("Take this region away and record why; undo brings it back.")
        button = self._actions["reject"] = self._actionButton(_("Reject"), tooltip)
        menu = qt.QMenu(button)

        def reject(reason: str) -> None:
            self._effect.onWhole(lambda tools: tools.reject(reason))

        for reason in REJECT_REASONS:
            menu.addAction(_(reason)).connect("triggered()", lambda reason=reason: reject(reason))
        button.setMenu(menu)

    def _actionButton(self, text: str, tooltip: str):
        button = qt.QPushButton(text)
        button.toolTip = tooltip
        self.ui.actionFrame.layout().addWidget(button)
        return button

    def _drawFoci(self, controller) -> None:
        from cnsifusion.mrml.tools import PVS

        table = self.ui.fociTable
        table.visible = controller.tool == PVS
        self._foci = controller.focusRows() if controller.tool == PVS else []
        table.setRowCount(len(self._foci))
        for number, row in enumerate(self._foci):
            used = "✓" if row.accepted else ""
            for column, text in enumerate((used, _(row.side), str(row.slice), _(row.size), row.brightness)):
                table.setItem(number, column, qt.QTableWidgetItem(text))

    # The reader's choices

    def _onRegion(self, index: int) -> None:
        if self._effect.controller is not None:
            self._effect.selectSegment(self._names[index])

    def _set(self, name: str, value) -> None:
        """A tool or one of its settings was chosen; nothing is there to take it where the editor has no regions."""
        if self._effect.controller is not None:
            setattr(self._effect.controller, name, value)
            self._changed()

    def _onOther(self, _node) -> None:
        if self._effect is not None and self._effect.controller is not None:
            self.compare()

    def _onAlign(self) -> None:
        if self._effect.controller is not None:
            self._effect.alignViews()
            self.showAlignment("", offer=False)
            self.explain("")

    def _onFocus(self, number: int, column: int) -> None:
        controller = self._effect.controller
        if controller is None:
            return
        row = self._foci[number]
        if column == 0:
            self._effect.run(lambda: controller.toggle(controller.foci[row.index]))
        self._effect.point(row.position)

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
    table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
    table.toolTip = _(
        "Click a row to go there; click in the first column to accept or reject it. Slice 1 is the lowest; Slicer's "
        "Data Probe counts from 0, in the file's own order."
    )


def _narrow(button) -> None:
    """Let a button share what room there is."""
    button.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
    button.minimumWidth = _BUTTON_WIDTH


def _press(button, pressed: bool) -> None:
    """A pressed button is hardly darker than the others in Slicer's dark style: its word is bold too."""
    font = button.font
    font.setBold(pressed)
    button.checked, button.font = pressed, font


def _silently(widget, change) -> None:
    blocked = widget.blockSignals(True)
    change(widget)
    widget.blockSignals(blocked)
