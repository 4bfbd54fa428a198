"""Hidden module that registers the Segment Editor effect. Nothing third-party is imported while this file is read."""

import importlib
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

_EFFECT_FILE = Path(__file__).resolve().parent / "CNSISegmentEditorLib" / "SegmentEditorEffect.py"


class CNSISegmentEditor(ScriptedLoadableModule):
    """Registers the effect once the application has started."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CNSI Segment Editor effect")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations"]
        self.parent.contributors = ["CNSIFusion contributors"]
        self.parent.hidden = True
        self.parent.helpText = _("This hidden module registers the CNSI effect of the Segment Editor.")
        self.parent.acknowledgementText = _("Part of CNSIFusion; research use only.")
        slicer.app.connect("startupCompleted()", registerEffect)


def registerEffect():
    """Make the effect known to the Segment Editor."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    # The package first: setPythonSource would otherwise load the file under the package's name and hide its siblings.
    importlib.import_module("CNSISegmentEditorLib")
    effect = effects.qSlicerSegmentEditorScriptedLabelEffect(None)
    effect.setPythonSource(_EFFECT_FILE.as_posix())
    effect.self().register()


class CNSISegmentEditorTest(ScriptedLoadableModuleTest):
    """Self-tests that need neither network nor data; the long ones are in Testing/desktop."""

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_effectIsRegistered(self):
        """The Segment Editor offers the effect and can make it active and inactive again."""
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        widget.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        self.assertIn("CNSI", widget.availableEffectNames())
        widget.deleteLater()
