"""What lies below a folder that a user names."""

from __future__ import annotations

import os
from pathlib import Path


def files_below(folder: Path, lost: bool = False) -> list[Path]:
    """Regular files below ``folder``, in order of their paths. What this user may not read is passed over, and links to
    folders are not followed. ``lost``: links to nothing too (a data set's files that were never sent here).
    """
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if _is_file(path) or (lost and path.is_symlink()))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
