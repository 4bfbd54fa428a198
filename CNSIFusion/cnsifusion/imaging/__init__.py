"""Volumes and their geometry: read, write, orient, check, prepare."""

from cnsifusion.imaging.check import CheckReport, Finding, check_image
from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.prepare import PreparationSettings, Prepared, prepare
from cnsifusion.imaging.read import read_image, read_labels
from cnsifusion.imaging.volume import Acquisition, Volume
from cnsifusion.imaging.write import atomic_path, check_output, temporary_folder, write_text, write_volume

__all__ = [
    "Acquisition", "CheckReport", "Finding", "Grid", "PreparationSettings", "Prepared", "Volume", "atomic_path",
    "check_image", "check_output", "prepare", "read_image", "read_labels", "temporary_folder", "write_text",
    "write_volume",
]  # fmt: skip
