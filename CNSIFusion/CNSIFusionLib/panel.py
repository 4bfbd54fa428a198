"""The panel: one session, five sections, one timer. Without the engine's packages it only offers to install them."""

import logging

import qt
import slicer
from slicer.i18n import tr as _

from CNSIFusionLib import compat

_POLL_MILLISECONDS = 50
#: Redrawing reads the segments; while the reader paints, now and then is enough.
_SEGMENTS_REDRAW_MILLISECONDS = 300
#: As wide as the widest step: a panel that grew when a step opens would resize the views, and draw each of them anew.
_WIDTH = 372
#: Another style or size of letters: what was drawn in the former one cannot be read in it.
_APPEARANCE_SIGNALS = ("paletteChanged(QPalette)", "fontChanged(QFont)")
_STATUS_MILLISECONDS = 8000
_STATES = {"done": "✓", "next": "◀ next", "running": "…", "problem": "✖"}
_STALE = "⚠ out of date"


class Panel:
    """Everything the module's widget shows; ``cleanup()`` may be called twice."""

    def __init__(self, layout, uiPath: str):
        self._widget = slicer.util.loadUI(uiPath)
        layout.addWidget(self._widget)
        self.ui = slicer.util.childWidgetVariables(self._widget)
        self._widget.setMRMLScene(slicer.mrmlScene)
        self.ui.researchLabel.minimumWidth = _WIDTH
        self.session = self.turns = None
        self._sections = {}
        self._states = {}
        self._dirty, self._entered, self._drewLast = True, False, False
        self._notice, self._noticeOf = "", None
        #: Why the regions and maps of the case are hidden: the views show another image. "" where they do not.
        self.elsewhere = ""
        self._told = ""
        self._seen = []
        self._watched = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)
        self._segmentsTimer = qt.QTimer()
        self._segmentsTimer.setSingleShot(True)
        self._segmentsTimer.setInterval(_SEGMENTS_REDRAW_MILLISECONDS)
        self._segmentsTimer.connect("timeout()", self.markDirty)
        self.ui.installButton.connect("clicked()", self._install)
        self.ui.installFolderButton.connect("clicked()", self._installFromFolder)
        self.ui.removePackagesButton.connect("clicked()", self._remove)
        for signal in _APPEARANCE_SIGNALS:
            slicer.app.connect(signal, self.markDirty)
        self.start()

    def start(self) -> None:
        """Begin with the engine, or say what is missing."""
        problem, wanted = compat.engineProblem(), compat.missing()
        if wanted and not problem:
            names = ", ".join(str(requirement) for requirement in wanted)
            problem = _("The engine needs more Python packages: {names}.").format(names=names)
        self.ui.installFrame.visible = bool(problem)
        self.ui.installLabel.text = f"{self._notice} {problem}".strip()
        self.ui.installButton.visible = self.ui.installFolderButton.visible = bool(wanted)
        if problem:
            self._showIdle(problem)
        else:
            self._begin()
        self._drawPackages()

    def enter(self) -> None:
        """The reader opened the module."""
        self._entered = True
        self._chooseOnlyVolume()
        self.markDirty()

    def exit(self) -> None:
        """The reader left the module; a running analysis goes on."""
        self._entered = False
        self.closeTools()
        if self._sections:
            self.keepApart()  # what changed since it was last drawn

    def cleanup(self) -> None:
        """Stop what runs and let go of the scene."""
        self._timer.stop()
        self._segmentsTimer.stop()
        for signal in _APPEARANCE_SIGNALS:
            slicer.app.disconnect(signal, self.markDirty)
        self._watch(None)
        for section in self._sections.values():
            section.cleanup()
        self._sections = {}
        if self.session is not None:
            self.turns.end()
            self.session.close()
            self.session = None

    def closeTools(self) -> None:
        """Put the correcting tools away."""
        if self._sections:
            self._sections["regions"].closeCorrector()

    def expectRegions(self) -> None:
        """A job begins that may bring regions."""
        self._sections["regions"].expectRegions()

    def volume(self):
        """The volume of the case in front, None where there is none."""
        case = self.session.front if self.session else None
        return case.volume if case is not None else None

    def showImage(self) -> None:
        """Bring the case's image into all views, along its own slices."""
        from CNSIFusionLib import views

        views.showVolume(self.volume())
        self.session.case.mapViews = []

    def guarded(self, action) -> None:
        """Do what a button says; an expected error becomes the panel's message, another one a dialog."""
        from cnsifusion.errors import CNSIFusionError

        self._notice = ""
        with slicer.util.tryWithErrorDisplay(_("CNSIFusion met an unexpected error."), waitCursor=False):
            try:
                action()
            except CNSIFusionError as error:
                self._notice, self._noticeOf = str(error), self._node()
        self.markDirty()

    def _node(self):
        """The node of the case in front, None where there is none."""
        return self.session.case.node if self.session and self.session.case else None

    def markDirty(self, *_arguments) -> None:
        """Draw anew with the next tick."""
        self._dirty = True

    @staticmethod
    def drawButton(button, action) -> None:
        """A button as the view says: its word, whether it can be pressed, and what it does or why it cannot."""
        button.text, button.toolTip, button.enabled = _(action.label), _(action.tooltip), action.enabled

    def _begin(self) -> None:
        from cnsifusion.mrml.resultview import RESEARCH_USE
        from cnsifusion.mrml.session import Session
        from CNSIFusionLib import database, views
        from CNSIFusionLib.many import ManySection
        from CNSIFusionLib.result import ResultSection
        from CNSIFusionLib.sections import AnalyzeSection, ImageSection, ModelSection, RegionsSection

        self.ui.researchLabel.text = _(RESEARCH_USE)
        for widget in self._sectionWidgets().values():
            widget.enabled = True
        self.markDirty()
        if self.session is not None:
            return
        self.session = Session(slicer.mrmlScene, onChange=self.markDirty)
        self.session.sources.instanceFiles = database.instanceFiles
        self.turns = views.Turns()
        self.session.showing = self.turns.take
        self.session.held = lambda: qt.QApplication.mouseButtons() != qt.Qt.NoButton
        self._sections = {
            "image": ImageSection(self),
            "regions": RegionsSection(self),
            "model": ModelSection(self),
            "analyze": AnalyzeSection(self),
            "many": ManySection(self),
            "result": ResultSection(self),
        }
        self._timer.start()

    def _sectionWidgets(self) -> dict:
        names = ("image", "regions", "model", "analyze", "result")
        return {name: getattr(self.ui, f"{name}Section") for name in names}

    def _showIdle(self, problem: str) -> None:
        self.ui.researchLabel.text = self.ui.messageLabel.text = ""
        for widget in self._sectionWidgets().values():
            widget.enabled = False
            for part in (widget, *slicer.util.findChildren(widget, className="QPushButton")):
                part.toolTip = problem

    def _poll(self) -> None:
        """Take what arrived, or draw it with the tick after: each for itself holds the mouse up half as long.

        With the module left, only that a scene was closed is drawn: nothing of it may be held on to.
        """
        self._fit()
        self._lookElsewhere()
        self._sections["regions"].listSegments()
        if self._dirty and not self._drewLast and (self._entered or self.session.case is None):
            self._dirty, self._drewLast = False, True
            self._draw()
        else:
            self._drewLast = False
            self.session.poll()

    def _fit(self) -> None:
        """Ask for the height that lines which wrap need: a module that was left and opened again gets its smallest
        alone from Slicer, and they lost their second half, “not meaningful for patients” among them.
        """
        height = self._widget.heightForWidth(self._widget.width)
        if height != self._widget.minimumHeight:
            self._widget.minimumHeight = height

    def _lookElsewhere(self) -> None:
        """Notice that the views show another image than the case's: Slicer puts what it loads into all of them.

        With the module left too; there what the reader then shows or hides stays, until the views show another image
        or regions arrive.
        """
        from CNSIFusionLib import views

        front = self.session.front
        volume, regions = (front.volume, front.segmentation) if front is not None else (None, None)
        others = [n for n in views.imagesShown() if volume is None or not self.session.beside.isOfThisPatient(n)]
        seen = [(node.GetID(), node.GetName()) for node in (volume, regions, *others) if node is not None]
        if seen == self._seen or slicer.mrmlScene.IsBatchProcessing():
            return
        if not self._seen and self._entered:
            self._chooseOnlyVolume()  # loaded with the panel open
        self._seen, self.elsewhere, told = seen, "", ""
        if volume is not None and others:
            names = {"others": ", ".join(node.GetName() for node in others), "image": volume.GetName()}
            self.elsewhere = _(
                "The views show {others}, but this panel is about {image}: its regions and maps are hidden. Choose the "
                "image in step 1, or, where both are one patient's, the other one as “Other series”."
            ).format(**names)
            self.closeTools()  # they would draw this image's regions over another one
            if regions is not None and not self._entered:
                told = _("CNSIFusion hides regions and maps of {image}: the views show {others}.").format(**names)
        self._tell(told)
        self.keepApart()
        self.markDirty()

    def _tell(self, text: str) -> None:
        """Say it in Slicer's status line, "" for nothing; what it said there before goes, unless others wrote since."""
        window = slicer.util.mainWindow()
        if text:
            slicer.util.showStatusMessage(text, _STATUS_MILLISECONDS)
        elif self._told and window and window.statusBar().currentMessage() == self._told:
            window.statusBar().clearMessage()
        self._told = text

    def keepApart(self) -> None:
        """Take what belongs to another patient than the views show out of them."""
        from cnsifusion.mrml.apart import keepApart
        from CNSIFusionLib import views

        keepApart(slicer.mrmlScene, self.session.beside.whose(views.imagesShown()))

    def _draw(self) -> None:
        from cnsifusion.mrml.panel import Line, panelView
        from CNSIFusionLib.drawing import linesText

        self._watch(self.session.case.segmentation if self.volume() else None)
        view = panelView(self.session)
        for section in self._sections.values():
            section.draw(view)
        self._drawStates(view.steps)
        notice = self._notice if self._noticeOf is self._node() else ""  # not over another patient
        lines = [Line(notice, "error")] if notice else [view.message] if view.message else []
        lines += [Line(self.elsewhere, "warn")] if self.elsewhere else []
        words = linesText(lines)
        if lines and words != self.ui.messageLabel.text:
            qt.QTimer.singleShot(2 * _POLL_MILLISECONDS, self._showMessage)  # when it has its place
        self.ui.messageLabel.text = words
        self.ui.messageLabel.visible = bool(lines)

    def _drawStates(self, steps: dict) -> None:
        """Mark each step; when a step becomes the next one (or runs), open it and fold what is done."""
        states = {name: step.state for name, step in steps.items()}
        for name, widget in self._sectionWidgets().items():
            stale = name == "result" and any(line.level != "info" for line in steps[name].lines)
            mark = _STALE if stale else _STATES.get(states[name])
            widget.text = f"{_(steps[name].title)}  {_(mark)}" if mark else _(steps[name].title)
            widget.toolTip = ""
        opened = [name for name, state in states.items() if state in ("next", "running", "problem")]
        if states["analyze"] == "done":
            opened = ["result"]
        if self._sections["regions"].corrector.isOpen:
            opened.append("regions")
        if states["analyze"] == "next":
            opened.append("regions")  # to be looked at, and corrected, before
        opened += [name for name in ("image", "regions") if any(line.level != "info" for line in steps[name].lines)]
        if self._states.get("image") == "running":
            opened.append("image")  # its verdict has just come, and the mouse may be on its way to the next step
        if states != self._states and opened:
            for name, widget in self._sectionWidgets().items():
                widget.collapsed = name not in opened and not (name == "analyze" and "result" not in opened)
        came = states["analyze"] == "done" and self._states.get("analyze", "done") != "done"
        if came and not self._sections["regions"].corrector.isOpen:  # there undo made it one of these regions again
            qt.QTimer.singleShot(2 * _POLL_MILLISECONDS, self._showResult)  # when the step has its place
        self._states = states

    def _showResult(self) -> None:
        from CNSIFusionLib.drawing import scrollTo

        if self._sections:  # the module may have been put away
            scrollTo(self.ui.resultSection)

    def _showMessage(self) -> None:
        """Whoever pressed a button far below, or loaded an image, sees what came of it."""
        from CNSIFusionLib.drawing import bringIntoSight

        if self._sections and self.ui.messageLabel.visible:
            bringIntoSight(self.ui.messageLabel)

    def _watch(self, segmentationNode) -> None:
        """Notice edits of the case's regions, by whatever tool."""
        from cnsifusion.mrml.segmentation import keepPartsHidden

        current = self._watched[0] if self._watched else None
        if current is segmentationNode:
            return
        if self._watched:
            for target, tag in self._watched[1]:
                target.RemoveObserver(tag)
        self._watched = None
        if segmentationNode is not None:
            events = (slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentModified,
                      slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved)
            segmentation = segmentationNode.GetSegmentation()
            tags = [(segmentation, segmentation.AddObserver(event, self._onSegments)) for event in events]
            tags.append((segmentation, keepPartsHidden(segmentationNode)))
            self._watched = (segmentationNode, tags)

    def _onSegments(self, *_arguments) -> None:
        if not self._segmentsTimer.active:
            self._segmentsTimer.start()

    def _chooseOnlyVolume(self) -> None:
        """Save a click where the scene holds exactly one image and no case yet."""
        if self.session is None or self.volume() is not None:
            return
        volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
                   if not node.IsA("vtkMRMLLabelMapVolumeNode") and node.GetImageData()]
        if len(volumes) == 1:
            self.guarded(lambda: self.session.chooseVolume(volumes[0]))

    def _install(self) -> None:
        self._notice = compat.install()
        self.start()

    def _installFromFolder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of wheels"))
        if folder:
            self._notice = compat.install(folder)
            self.start()

    def _remove(self) -> None:
        names = ", ".join(compat.installedByUs())
        question = _("Remove {names} from this Slicer? CNSIFusion cannot analyze without them.").format(names=names)
        if slicer.util.confirmOkCancelDisplay(question, _("Remove packages")):
            self._notice = compat.removeInstalled()
            logging.info("CNSIFusion: removed %s", names)
            self.ui.packagesLabel.text = self._notice or _("Removed; restart Slicer to finish.")
            self.ui.removePackagesButton.enabled = False

    def _drawPackages(self) -> None:
        ours = compat.installedByUs()
        installed = _("Installed by this panel: {names}.").format(names=", ".join(ours))
        self.ui.packagesLabel.text = installed if ours else _("This panel installed nothing.")
        self.ui.removePackagesButton.enabled = bool(ours)
        self.ui.removePackagesButton.toolTip = (
            _("Take away what this panel installed.") if ours else _("There is nothing to remove.")
        )
