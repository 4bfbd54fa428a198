"""The panel's Slicer module. Reading this file imports nothing third-party: a failed import hides a module."""

import importlib
import sys
import time

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class CNSIFusion(ScriptedLoadableModule):
    """Infection probability from a plain axial T2 brain MRI, for research."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "CNSIFusion"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Neuroimaging")]
        self.parent.dependencies = ["Segmentations"]
        self.parent.contributors = ["CNSIFusion contributors"]
        self.parent.helpText = _(
            "From an axial T2 to an infection probability in five steps: image, regions, model, analysis, result. "
            "Research use only, not for diagnosis. No image leaves the computer."
        )
        self.parent.acknowledgementText = _(
            "Follows “A novel MRI-based deep learning-radiomics framework for evaluating cerebrospinal fluid signal in "
            "central nervous system infection”, Frontiers in Medicine 2025;12:1659653; independent of its authors."
        )
        slicer.app.connect("startupCompleted()", onStartup)


def onStartup():
    """Add the sample images when the application has started, and look at each scene that is loaded from then on."""
    from CNSIFusionLib.sampleData import register

    register()
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, makePanelForCases)
    makePanelForCases()


def makePanelForCases(*_arguments):
    """Make the panel, unopened, where the scene holds a case: it keeps regions and maps off another patient's image."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
    if any(node.GetAttribute("ModuleName") == "CNSIFusion" for node in nodes):
        qt.QTimer.singleShot(0, slicer.modules.cnsifusion.widgetRepresentation)  # when the scene is all there


class CNSIFusionWidget(ScriptedLoadableModuleWidget):
    """Puts the panel into Slicer's module area."""

    def __init__(self, parent=None):
        self.panel = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        from CNSIFusionLib.panel import Panel

        self.panel = Panel(self.layout, self.resourcePath("UI/CNSIFusion.ui"))
        if self.parent.isEntered:  # after a reload nobody calls enter()
            self.panel.enter()

    def enter(self):
        """Called each time the module is shown."""
        self.panel.enter()

    def exit(self):
        """Called each time another module is shown."""
        self.panel.exit()

    def cleanup(self):
        """Called when the application exits or the module is reloaded."""
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None

    def onReload(self):
        """Reload the panel's files and the engine with the module."""
        self.cleanup()
        for name in [n for n in sys.modules if n.split(".")[0] in ("CNSIFusionLib", "cnsifusion")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)


class CNSIFusionLogic(ScriptedLoadableModuleLogic):
    """The panel's work for scripts: no widgets, the same engine in the same child process."""

    def analyze(self, volumeNode, segmentationNode=None, bundleFolder=None, timeoutSeconds=600.0):
        """Analyze a volume and wait: proposes regions where none are given; returns the PatientResult.

        Raises the engine's errors, TimeoutError, and RuntimeError with the child's sentence when the analysis failed.
        The result's nodes are in the scene afterwards, under the volume's case; the panel keeps them off other images.
        """
        from cnsifusion.mrml.results import resultOf
        from cnsifusion.mrml.session import Session

        session = Session(slicer.mrmlScene)
        try:
            session.chooseVolume(volumeNode)
            case = session.case
            if segmentationNode is not None:
                case.segmentation = segmentationNode
            case.removeResult()
            session.chooseBundle(bundleFolder)
            session.analyze()
            end = time.monotonic() + timeoutSeconds
            while session.job is not None:
                if time.monotonic() > end:
                    raise TimeoutError(f"The analysis did not end within {timeoutSeconds:.0f} s.")
                session.poll()
                slicer.app.processEvents()
                time.sleep(0.02)
            if (result := resultOf(case)) is None:
                raise RuntimeError(case.message.get("text", "The analysis ended without a result."))
            return result
        finally:
            session.close()
            makePanelForCases()


class CNSIFusionTest(ScriptedLoadableModuleTest):
    """Self-tests that need neither network nor data; the long ones are in Testing/desktop."""

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_engineIsTheExtensionsOwn(self):
        """No other cnsifusion hides the one beside this module."""
        from CNSIFusionLib import compat

        self.assertEqual(compat.engineProblem(), "")

    def test_everyDisabledButtonGivesItsReason(self):
        """On an empty scene nothing can be pressed by mistake, and each button says why."""
        slicer.util.selectModule("CNSIFusion")
        slicer.app.processEvents()
        widget = slicer.modules.cnsifusion.widgetRepresentation()
        buttons = slicer.util.findChildren(widget, className="QPushButton")
        disabled = [b for b in buttons if b.visible and not b.enabled and b.text]
        self.assertEqual({bool(b.toolTip) for b in disabled}, {True})
