"""Ring 2: mrml/ on Slicer's real libraries, and the browser face in a real Chromium."""

import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[1]
DATA = TESTING.parents[1] / "shared" / "data"
sys.path.insert(0, str(TESTING))

pytest.importorskip("slicer", reason="needs the extra 'web' (slicer-core)")


@pytest.fixture(scope="session")
def realData() -> Path:
    """Folder of the real test volumes; skips where it is absent (a user's clone has none)."""
    if not DATA.is_dir():
        pytest.skip("the real test volumes (../shared/data) are not here")
    return DATA


@pytest.fixture
def headless():
    """A fresh headless Slicer."""
    from harness import HeadlessSlicer

    return HeadlessSlicer()


@pytest.fixture
def makeVolume(headless):
    """Make a small volume node: random voxels on an oblique grid with its own axis order."""
    import numpy as np
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    def make(size=(20, 24, 9), spacing=(0.6, 0.7, 4.0), axes=("L", "P", "S"), name="T2", tilt=0.15):
        directions = {"L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        c, s = np.cos(tilt), np.sin(tilt)
        matrix = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([directions[a] for a in axes], float).T
        image = vtk.vtkImageData()
        image.SetDimensions(size)
        voxels = np.random.default_rng(1).integers(0, 1000, int(np.prod(size))).astype(np.int16)
        image.GetPointData().SetScalars(numpy_to_vtk(voxels, deep=True))
        node = headless.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        node.SetAndObserveImageData(image)
        node.SetIJKToRASDirections(matrix.tolist())
        node.SetSpacing(spacing)
        node.SetOrigin(5.0, -7.0, 11.0)
        node.CreateDefaultDisplayNodes()
        return node

    return make


@pytest.fixture(scope="session")
def demonstrationBundle() -> Path:
    """Folder of the demonstration bundle that ships."""
    from cnsifusion.bundles import default_bundle_dir

    assert (default_bundle_dir() / "bundle.json").is_file(), "the demonstration bundle is missing: run `make bundle`"
    return default_bundle_dir()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """A DICOM series of a real T2 where the real volumes are at hand, otherwise of a simulated patient.

    In the middle slice of both a click on a ventricle leaves the other side's alone (patient 7's touch each other), and
    some foci are less than sure, so that the slider hides them (not one of patient 9001's).
    """
    path = DATA / "oms_patient01_study1" / "T2w.nii.gz"
    sys.path.insert(0, str(TESTING / "engine" / "imaging"))
    from dicom_files import write_series  # a helper of the imaging tests

    from cnsifusion.imaging import read_image
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    volume = read_image(path) if path.is_file() else simulate_patient(9006, True, SimulationSettings()).volume
    folder = tmp_path_factory.mktemp("dicom") / "T2"
    write_series(volume.with_array(volume.array.clip(0)), folder)
    return folder
