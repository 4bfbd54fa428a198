"""The Segment Editor effect. Import this package before Slicer's setPythonSource, which looks the class up here."""

from CNSISegmentEditorLib.SegmentEditorEffect import SegmentEditorEffect

__all__ = ["SegmentEditorEffect"]
