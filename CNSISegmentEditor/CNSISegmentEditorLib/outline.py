"""The outline over one slice view of what a click would change."""

import vtk

_LINE_WIDTH = 2


class OutlinePipeline:
    """One actor in one slice view; the effect adds it on the first event there and removes it in deactivate()."""

    def __init__(self, scriptedEffect, sliceWidget):
        self._effect, self._sliceWidget = scriptedEffect, sliceWidget
        self._mapper = vtk.vtkPolyDataMapper2D()
        self._mapper.SetInputData(vtk.vtkPolyData())
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetLineWidth(_LINE_WIDTH)
        self._actor.VisibilityOff()
        self._effect.addActor2D(sliceWidget, self._actor)

    @property
    def sliceNode(self):
        """The view's slice node."""
        return self._effect.viewNode(self._sliceWidget)

    @property
    def shown(self) -> bool:
        """Whether there is an outline in the view now."""
        return bool(self._actor.GetVisibility())

    def draw(self, edges, color) -> None:
        """Show edges ((n, 2, 3) LPS mm), or nothing where there are none."""
        from cnsifusion.mrml.contour import viewLines

        shown = edges is not None and len(edges) > 0
        if not shown and not self.shown:
            return
        if shown:
            self._mapper.SetInputData(viewLines(edges, self.sliceNode))
            self._actor.GetProperty().SetColor(*color)
        self._actor.SetVisibility(shown)
        self._effect.scheduleRender(self._sliceWidget)

    def remove(self) -> None:
        """Take the actor out of the view."""
        self._effect.removeActor2D(self._sliceWidget, self._actor)
        self._effect.scheduleRender(self._sliceWidget)
