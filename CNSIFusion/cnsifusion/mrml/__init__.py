"""The engine's objects as MRML nodes, and the state of a case.

Shared by the Slicer panel, the Segment Editor effect, the browser face and the headless tests. Needs Slicer's
libraries (``slicer``, ``vtk``) but neither Qt nor a display; every class takes the scene or a node as an argument.
Positions handed to the engine are LPS in mm; MRML's own are RAS.
"""
