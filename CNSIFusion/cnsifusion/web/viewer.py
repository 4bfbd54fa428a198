"""The slice views: axial large, coronal and sagittal beside it, on trame-slicer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from slicer import vtkMRMLScalarBarDisplayableManager
from trame.app import asynchronous
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories
from trame_slicer.views import Layout, LayoutDirection, ScheduledRenderStrategy, SliceView, ViewLayoutDefinition
from vtkmodules.vtkCommonCore import vtkCommand

from cnsifusion.mrml.alignment import bringTo
from cnsifusion.mrml.beside import LinkedSlices
from cnsifusion.mrml.volumes import NodeGeometry

AXIAL, CORONAL, SAGITTAL = "Red", "Green", "Yellow"
#: The view of another series of the patient; made when first needed.
BESIDE = "Beside"
_LAYOUT, _LAYOUT_BESIDE = "CNSIFusion", "CNSIFusion with another series"
#: Pictures per second at most. After each the view sleeps for the rest of its share, so 30 here made 25 in truth.
_PICTURES = 60.0
#: What lies between the pictures of two views, so that the server answers in time when all are drawn anew.
_BREATH_SECONDS = 0.03
#: The keys of a page that step through the slices, as Slicer's views call those that do.
_KEYS = {"ArrowUp": "Up", "PageUp": "Up", "ArrowDown": "Down", "PageDown": "Down"}
#: How the way of the mouse in a stroke begins, which page.js sends as a key; and what trame says of such a move.
_WAY = "way "
_DRAGGED = {"type": "MouseMove", "action": "down", "buttonLeft": 1, "buttonMiddle": 0, "buttonRight": 0,
            "shiftKey": 0, "ctrlKey": 0, "altKey": 0, "metaKey": 0}  # fmt: skip
#: The letters at the positive and the negative end of the R, A and S axes.
_DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))


class Viewer:
    """Slicer's scene and its three slice views, streamed to the page."""

    def __init__(self, server, fillView: Callable):
        """``fillView(server, viewId, view)`` adds the page's own controls over each view."""
        self.slicer = SlicerApp()
        self.scene = self.slicer.scene
        self._heat: tuple[str | None, float] = (None, 0.0)
        self._state = server.state
        self._state.setdefault("outline", "")
        register_rca_factories(
            self.slicer.view_manager, server, slice_view_ui_f=fillView, interactive_quality=90, target_fps=_PICTURES
        )
        self.layout = LayoutManager(self.scene, self.slicer.view_manager, server)
        side = Layout(
            LayoutDirection.Vertical, [ViewLayoutDefinition.coronal_view(), ViewLayoutDefinition.sagittal_view()]
        )
        self.layout.register_layout(
            _LAYOUT, Layout(LayoutDirection.Horizontal, [ViewLayoutDefinition.axial_view(), side], ["3", "1"])
        )
        axial, other = ViewLayoutDefinition.axial_view(), ViewLayoutDefinition.axial_view(BESIDE)
        self.layout.register_layout(
            _LAYOUT_BESIDE, Layout(LayoutDirection.Horizontal, [axial, other, side], ["2", "2", "1"]), True
        )
        self.layout.set_layout(_LAYOUT)
        mouse = self.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel)  # what the left button does where no tool is in hand
        self._queue = _Queue()
        self._link: LinkedSlices | None = None
        for tag in self.views:
            self._prepare(tag)

    def _prepare(self, tag: str) -> None:
        """Draw a view in its turn; fit it again when it gets its size, which is only after it was filled."""
        view = self.slicer.view_manager.get_view(tag)
        bars = view.get_displayable_manager_by_class(vtkMRMLScalarBarDisplayableManager)
        bars.SetAdjustForegroundWindowLevelEnabled(False)  # the colours of the maps say something
        view.render_window().SetMultiSamples(0)  # drawn in software 8 samples triple the time and look the same
        view.set_scheduled_render(_InTurn(self._queue, view._scheduled_render))  # it has no public getter
        view.interactor().AddObserver(vtkCommand.WindowResizeEvent, lambda *_: _fitted(view))
        view.interactor().AddObserver(vtkCommand.ExitEvent, lambda *_: None)  # VTK's keys E and Q would end the program
        factory = next(f for f in self.slicer.view_manager._factories if f.get_view(tag) is view)  # no public getter
        _listen(factory.get_factory_view(tag).view_adapter)

    @property
    def views(self) -> dict[str, SliceView]:
        """The slice views by tag."""
        return {tag: self.slicer.view_manager.get_view(tag) for tag in (AXIAL, CORONAL, SAGITTAL)}

    def show(self, volumeNode) -> None:
        """Show the volume in all views, aligned with its own slices."""
        self._heat = (None, 0.0)
        for view in self.views.values():
            self._lay(view, volumeNode)
            view.reset_view()

    @staticmethod
    def _lay(view: SliceView, volumeNode) -> None:
        """Lay the volume (or none) into a view, with nothing over it; where there is none, nothing can be measured."""
        node = view.get_view_node()
        view.set_background_volume_id(volumeNode.GetID() if volumeNode else None)
        view.set_foreground_volume_id(None)
        view.set_ruler(node.RulerTypeThin if volumeNode else node.RulerTypeNone)

    def showBeside(self, volumeNode) -> None:
        """Show another series in a view of its own, scrolling with the axial one; None takes the view away."""
        manager = self.slicer.view_manager
        if self._link is not None:
            self._link.close()
            self._link = None
        if volumeNode is None:
            self.layout.set_layout(_LAYOUT)
            return
        isNew = not manager.is_view_created(BESIDE)
        self.layout.set_layout(_LAYOUT_BESIDE)
        view = manager.get_view(BESIDE)
        if isNew:
            self._prepare(BESIDE)
        self._lay(view, volumeNode)
        self._link = LinkedSlices(self.views[AXIAL].get_view_node(), view.get_view_node())
        view.schedule_render()

    def showHeat(self, heatNode, shown: bool, opacity: float) -> None:
        """Lay the heat map over the image, or take it away."""
        wanted = (heatNode.GetID() if heatNode and shown else None, opacity)
        if wanted == self._heat:
            return  # setting the same again would draw all views anew
        self._heat = wanted
        for view in self.views.values():
            view.set_foreground_volume_id(wanted[0])
            view.set_foreground_opacity(opacity)

    def showOutline(self, svg: str) -> None:
        """Lay a picture over the axial view, "" for none."""
        self._state.outline = svg

    def jumpTo(self, lps: tuple[float, float, float]) -> None:
        """Bring all views to a position (LPS, mm)."""
        for view in self.views.values():
            bringTo(view.get_view_node(), lps)
            view.schedule_render()

    def edgeLetters(self, tag: str) -> dict[str, str]:
        """The patient's direction at each edge of a view: R, L, A, P, S or I, from the view's own geometry."""
        matrix = self.views[tag].get_view_node().GetSliceToRAS()
        letters = {}
        for column, (plus, minus) in enumerate((("right", "left"), ("top", "bottom"))):
            direction = [matrix.GetElement(row, column) for row in range(3)]
            axis = max(range(3), key=lambda row: abs(direction[row]))
            names = _DIRECTIONS[axis] if direction[axis] > 0 else _DIRECTIONS[axis][::-1]
            letters[plus], letters[minus] = names
        return letters

    def sliceOf(self, tag: str, volumeNode) -> tuple[int, int]:
        """The canonical slice number (from 0) along the view's axis, and how many there are."""
        axis = {AXIAL: 2, CORONAL: 1, SAGITTAL: 0}[tag]
        grid = NodeGeometry(volumeNode).grid
        matrix = self.views[tag].get_view_node().GetSliceToRAS()
        lps = (-matrix.GetElement(0, 3), -matrix.GetElement(1, 3), matrix.GetElement(2, 3))
        index = round(float(grid.to_ijk(lps)[axis]))
        return min(max(index, 0), grid.size[axis] - 1), grid.size[axis]


def _fitted(view: SliceView) -> None:
    """Fit the image into the view; the slice stays, which fitting alone would set to the middle one."""
    shown = view.get_slice_value()
    view.fit_view_to_content()
    view.set_slice_value(shown)


def _listen(adapter) -> None:
    """Give a view the size that it has in the tab whose mouse comes, and each key once, by its name in Slicer.

    It has that of the tab that was opened or resized last: in another one the picture would be cut and strokes land
    beside the mouse. Keys that write come twice, when they go down and as what they write: F was two slices. A key
    may be the way of the mouse in a stroke (page.js).
    """
    act = adapter.on_interaction

    def actAsSlicer(origin, event: dict) -> None:
        size, key = adapter._current_size, event.get("key", "")
        if size and "w" in event and (int(event["w"]), int(event["h"])) != size[:2]:
            adapter.update_size(origin, {**event, "p": size[2]})
        if key.startswith(_WAY):
            for x, y in json.loads(key.removeprefix(_WAY)):
                act(origin, {**event, **_DRAGGED, "x": x, "y": y})
            return
        if event["type"] == "KeyDown" and len(key) == 1 and not event["controlKey"]:
            return
        act(origin, {**event, "key": _KEYS.get(key, key)} if key else event)

    adapter.on_interaction = actAsSlicer


class _Queue:
    """Views that wait to be drawn. One picture takes up to a tenth of a second, three at once would be a stall."""

    def __init__(self) -> None:
        self._waiting: dict[ScheduledRenderStrategy, None] = {}
        self._task: asyncio.Task | None = None

    def add(self, strategy: ScheduledRenderStrategy) -> None:
        """Have a view drawn when those before it were; asking twice draws once."""
        self._waiting[strategy] = None
        if self._task is None:
            self._task = asynchronous.create_task(self._serve())

    async def _serve(self) -> None:
        while self._waiting:
            strategy = next(iter(self._waiting))
            del self._waiting[strategy]
            strategy.schedule_render()
            await asyncio.sleep(0)  # the view draws in this turn of the loop
            await asyncio.sleep(_BREATH_SECONDS if self._waiting else 0)
        self._task = None


class _InTurn(ScheduledRenderStrategy):
    """A view's own way of drawing, in its turn."""

    def __init__(self, queue: _Queue, strategy: ScheduledRenderStrategy):
        super().__init__()
        self._queue, self._strategy = queue, strategy

    def schedule_render(self) -> None:
        """Ask to be drawn."""
        self._queue.add(self._strategy)

    def did_render(self) -> None:
        """The view was drawn outside its turn."""
        self._strategy.did_render()
