"""The browser's server keeps nothing of a patient who was put away, without waiting for Python's search for rings."""

import asyncio
import gc
import sys

import numpy as np
import pytest

from cnsifusion.imaging import Grid, Volume, write_volume
from cnsifusion.mrml.case import nodesByClass
from cnsifusion.mrml.tools import ToolController, toolsFor
from cnsifusion.mrml.volumes import NodeGeometry


@pytest.fixture(scope="module")
def app():
    """The browser face without its server: views, editor, tools and session are the real ones."""
    from trame.app import get_server

    from cnsifusion.web.app import BrowserApp

    arguments, sys.argv = sys.argv, sys.argv[:1]  # trame reads them
    app = BrowserApp(get_server("memory", client_type="vue3"))
    yield app
    app.session.close()
    sys.argv = arguments


@pytest.fixture
def image(tmp_path):
    """Something to draw in; the check refuses it, which lets the tools be used all the same."""
    voxels = np.random.default_rng(3).integers(0, 500, (9, 40, 40)).astype(np.int16)
    grid = Grid((40, 40, 9), (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    write_volume(Volume(voxels, grid), tmp_path / "T2.nii.gz")
    return tmp_path / "T2.nii.gz"


def _work(app, image) -> None:
    """One reader: every tool of the ventricles over the image, and a stroke with each."""
    app.openPath(str(image))
    geometry = NodeGeometry(app.session.case.volume)
    for key in toolsFor("CSF ventricles"):
        app.tools.chooseTool(key)
        app._refresh()
        if app.tools._controller is None:
            continue
        for x in (18.0, 22.0):
            place = tuple(geometry.grid.to_lps((x, 20.0, 4.0)))
            app.tools._controller.hover(place)
        app.tools._controller.press(place)
        app.tools._controller.release()
    assert app.tools._controller is not None


def _isImage(thing) -> bool:
    return type(thing).__name__ == "vtkMRMLScalarVolumeNode"


def test_a_fault_does_not_end_the_page(app, monkeypatch, caplog) -> None:
    """The loop that takes results in ended with the first unexpected error: the page answered nothing any more."""
    polls = []

    def fail() -> None:
        polls.append(1)
        raise ValueError("/data/SMITH^ANNA/T2.nii")

    monkeypatch.setattr(app.session, "poll", fail)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(app._work(), 0.5))
    assert len(polls) > 2
    assert "ValueError in app.py" in caplog.text and "SMITH" not in caplog.text


def test_a_patient_who_was_put_away_leaves_the_memory(app, image) -> None:
    _work(app, image)
    gc.collect()
    others = {id(o) for o in gc.get_objects() if isinstance(o, ToolController) or _isImage(o)}  # of other tests
    gc.disable()
    try:
        for _ in range(3):
            _work(app, image)
        app.openPath(str(image))
        living = [o for o in gc.get_objects() if id(o) not in others]
        gone = [o.GetID() for o in living if _isImage(o) and o.GetScene() is None]
        tools = [o for o in living if isinstance(o, ToolController)]
    finally:
        gc.enable()
    assert not gone, f"{len(gone)} images of former patients are still here"
    nodes = [node.GetClassName() for node in nodesByClass(app.session.scene, "vtkMRMLNode")]
    assert nodes.count("vtkMRMLScalarVolumeNode") == 1, "the scene keeps the former patient"
    assert "vtkMRMLSegmentationNode" not in nodes
    assert not tools
