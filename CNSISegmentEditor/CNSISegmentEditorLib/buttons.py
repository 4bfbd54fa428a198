"""The mouse's other buttons, pressed while a stroke is drawn with the left one."""

import vtk

_RELEASES = {
    vtk.vtkCommand.RightButtonReleaseEvent: vtk.vtkCommand.RightButtonPressEvent,
    vtk.vtkCommand.MiddleButtonReleaseEvent: vtk.vtkCommand.MiddleButtonPressEvent,
}
#: Of two quick clicks Qt makes a press and a double click.
_PRESSES = {
    vtk.vtkCommand.RightButtonDoubleClickEvent: vtk.vtkCommand.RightButtonPressEvent,
    vtk.vtkCommand.MiddleButtonDoubleClickEvent: vtk.vtkCommand.MiddleButtonPressEvent,
    **{press: press for press in _RELEASES.values()},
}


class OtherButtons:
    """In a stroke they do nothing: the view's menu would take the stroke's end, its zoom move the image under it.

    A release is used up where its press was, and only there: the view ends what it began.
    """

    def __init__(self):
        self._held = set()

    def areIn(self, eventId) -> bool:
        """Whether the event is about one of them."""
        return eventId in _PRESSES or eventId in _RELEASES

    def usedUp(self, eventId, inStroke: bool) -> bool:
        """Whether the view is not to see the event."""
        if eventId in _PRESSES:
            if inStroke:
                self._held.add(_PRESSES[eventId])
            return inStroke
        press = _RELEASES[eventId]
        ours = press in self._held
        self._held.discard(press)
        return ours
