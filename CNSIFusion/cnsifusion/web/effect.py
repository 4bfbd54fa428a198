"""Our effect in trame-slicer's segment editor: hover shows what a click would change, click or drag changes it.

Glue alone: what a point means is computed by mrml's tool controller; the events and the outline are handled here.
Buttons pressed with Shift, Ctrl or Alt, and the plain wheel, are left to the view.
"""

from __future__ import annotations

from collections.abc import Callable

import vtk
from slicer import vtkMRMLInteractionEventData, vtkMRMLNode, vtkMRMLSliceNode
from trame_slicer.segmentation import SegmentationEffect, SegmentationEffectPipeline
from vtkmodules.vtkCommonCore import vtkCommand

from cnsifusion.mrml.contour import viewPath
from cnsifusion.mrml.tools import TOOLS, ToolController
from cnsifusion.web.viewer import AXIAL

_MOVE, _LEAVE = int(vtkCommand.MouseMoveEvent), int(vtkCommand.LeaveEvent)
_PRESS, _RELEASE = int(vtkCommand.LeftButtonPressEvent), int(vtkCommand.LeftButtonReleaseEvent)
_WHEEL = {int(vtkCommand.MouseWheelForwardEvent): 1, int(vtkCommand.MouseWheelBackwardEvent): -1}
_KEY = int(vtkCommand.KeyPressEvent)
#: What is held down with a key that means something.
_HELD = {0: "", int(vtk.vtkEvent.ControlModifier): "ctrl+"}
_MODIFIERS = vtk.vtkEvent.ShiftModifier | vtk.vtkEvent.ControlModifier | vtk.vtkEvent.AltModifier


class RegionEffect(SegmentationEffect):
    """Active while a tool is chosen. ``controller`` is set before that; ``afterEvent`` is called after each event.

    ``show`` lays an SVG picture over the axial view ("" for none); ``keys`` has what keys do, "ctrl+z" for Z with Ctrl.
    """

    def __init__(self) -> None:
        super().__init__()
        self.controller: ToolController | None = None
        self.afterEvent: Callable[[], None] = lambda: None
        self.show: Callable[[str], None] = lambda svg: None
        self.keys: dict[str, Callable[[], None]] = {}

    def _create_pipeline(self, view_node: vtkMRMLNode, _parameter) -> SegmentationEffectPipeline | None:
        if not isinstance(view_node, vtkMRMLSliceNode):
            return None
        return RegionPipeline() if view_node.GetSingletonTag() == AXIAL else ElsewherePipeline()

    def draw(self, edges) -> None:
        """Show an outline (edges in LPS mm) as hovering does; None takes it away (slice, tool or case changed)."""
        for weak in self.pipelines:
            if isinstance(pipeline := weak(), RegionPipeline):
                pipeline.draw(edges)


class ElsewherePipeline(SegmentationEffectPipeline):
    """The other views: a click there says where the tools work."""

    def CanProcessInteractionEvent(self, eventData: vtkMRMLInteractionEventData) -> tuple[bool, float]:
        pressed = eventData.GetType() == _PRESS and not eventData.GetModifiers() & _MODIFIERS
        return bool(self.IsActive() and self._effect.controller is not None and pressed), 0.0

    def ProcessInteractionEvent(self, _eventData: vtkMRMLInteractionEventData) -> bool:
        self._effect.controller.message = "The tools work on axial slices: use the axial view."
        self._effect.afterEvent()
        return True


class RegionPipeline(SegmentationEffectPipeline):
    """The axial view's events, and the outline over it."""

    def draw(self, edges) -> None:
        """Show the outline (edges in LPS mm), or none. The page draws it: a picture of the view would take too long."""
        if edges is None or not len(edges):
            self._effect.show("")
            return
        width, height = self._view.render_window().GetSize()
        path = viewPath(edges, self._view.get_view_node(), height)
        color = ",".join(str(round(255 * c)) for c in self._controller.color())
        self._effect.show(
            f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
            f'<path d="{path}" stroke="rgb({color})" stroke-width="2" stroke-linecap="square" fill="none"/></svg>'
        )

    def CanProcessInteractionEvent(self, eventData: vtkMRMLInteractionEventData) -> tuple[bool, float]:
        controller = self._controller
        if not self.IsActive() or controller is None:
            return False, 0.0
        kind, modified = eventData.GetType(), bool(eventData.GetModifiers() & _MODIFIERS)
        wanted = kind in (_MOVE, _LEAVE) or (kind == _PRESS and not modified)
        wanted = wanted or (kind in _WHEEL and modified and bool(TOOLS[controller.tool].slider))
        wanted = wanted or self._action(eventData) is not None
        return wanted or controller.stroking, 0.0  # who takes any event in a stroke, a key or the wheel, would end it

    def ProcessInteractionEvent(self, eventData: vtkMRMLInteractionEventData) -> bool:
        kind, controller = eventData.GetType(), self._controller
        x, y, z = eventData.GetWorldPosition()
        lps = (-x, -y, z)
        if kind == _PRESS:
            self.draw(controller.press(lps))
        elif kind == _LEAVE:
            self.LoseFocus(eventData)
        elif (action := self._action(eventData)) is not None and not controller.stroking:
            action()
            self.draw(controller.hover(lps))
        elif kind in (_MOVE, _RELEASE, *_WHEEL):
            if kind in _WHEEL:
                controller.turn(_WHEEL[kind])
            edges = controller.drag(lps) if controller.stroking else controller.hover(lps)
            if kind == _RELEASE:  # after a drag to here: the page may leave out the last move before it
                controller.release()
                edges = controller.hover(lps)
            self.draw(edges)
        self._effect.afterEvent()
        return True

    def LoseFocus(self, eventData) -> None:
        super().LoseFocus(eventData)
        self.draw(None)
        if self._controller is not None:
            self._controller.leave()
            self._controller.release()  # a stroke, if there is one, ends where the mouse left

    def _action(self, eventData) -> Callable[[], None] | None:
        held = _HELD.get(eventData.GetModifiers() & _MODIFIERS) if eventData.GetType() == _KEY else None
        return self._effect.keys.get(held + eventData.GetKeySym().lower()) if held is not None else None

    @property
    def _controller(self) -> ToolController | None:
        return self._effect.controller if self._effect else None
