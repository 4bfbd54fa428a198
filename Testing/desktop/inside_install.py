"""Installing what the engine needs, the modules' own tests and the logic for scripts, in a real Slicer."""

import tempfile
import unittest
import zipfile

import desk
import slicer
from onpanel import anotherImageComes, panel

import CNSIFusion


def test_scripted_analysis_without_the_panel_is_watched_as_well():
    """Its regions lay over whatever image was opened next, until the panel was opened."""
    from cnsifusion.mrml.case import CaseState

    desk.showWindow()
    assert not hasattr(slicer.modules, "CNSIFusionWidget"), "the panel was made before"
    volume = desk.loadT2()
    result = CNSIFusion.CNSIFusionLogic().analyze(volume)
    assert 0 <= result.patient.probability <= 1
    assert result.instances
    regions = CaseState.active(slicer.mrmlScene).segmentation.GetDisplayNode()
    slicer.util.setSliceViewerLayers(background=volume)
    desk.settle(0.5)
    anotherImageComes(regions)


def test_the_panel_opens():
    desk.openPanel()
    assert not panel().ui.installFrame.visible


def test_declined_install_leaves_a_working_panel():
    from CNSIFusionLib import compat

    wanted = [compat.Requirement("cnsifusion-no-such-package", "1.0", 3)]
    former = compat.missing, compat.confirmInstall
    compat.missing = lambda: wanted
    try:
        panel().start()
        assert panel().ui.installFrame.visible and panel().ui.installButton.enabled
        assert "cnsifusion-no-such-package>=1.0" in panel().ui.installLabel.text
        assert not panel().ui.analyzeSection.enabled
        assert "needs more Python packages" in panel().ui.analyzeSection.toolTip
        asked = []
        assert compat.install(confirm=lambda packages: asked.extend(packages)) != ""
        assert asked == wanted
    finally:
        compat.missing, compat.confirmInstall = former
    panel().start()
    desk.settle(0.3)
    assert not panel().ui.installFrame.visible
    assert panel().ui.imageSection.enabled


def test_failed_install_says_so():
    from CNSIFusionLib import compat

    wanted = [compat.Requirement("cnsifusion-no-such-package", "1.0", 3)]
    former = compat.missing
    compat.missing = lambda: wanted
    try:
        sentence = compat.install(folder="/nonexistent", confirm=lambda _packages: True)
    finally:
        compat.missing = former
    assert "could not be installed" in sentence


def test_installs_from_a_folder_of_wheels_and_removes_again():
    from CNSIFusionLib import compat

    name = "cnsifusion_desktop_test_wheel"
    wanted = compat.Requirement(name, "1.0", 1)
    with tempfile.TemporaryDirectory() as folder:
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(f"{folder}/{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
        former, compat.missing = compat.missing, lambda: [] if wanted.met else [wanted]
        try:
            assert not wanted.met
            assert compat.install(folder=folder, confirm=lambda packages: packages == [wanted]) == ""
            assert wanted.met
            assert compat.installedByUs() == [name]
            assert compat.removeInstalled() == ""
            assert not wanted.met
            assert compat.installedByUs() == []
        finally:
            compat.missing = former


def test_self_tests_of_the_modules_pass():
    for module in ("CNSIFusion", "CNSISegmentEditor"):
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(__import__(module), f"{module}Test"))
        outcome = unittest.TextTestRunner().run(suite)
        assert outcome.testsRun > 0 and outcome.wasSuccessful(), outcome.failures + outcome.errors
