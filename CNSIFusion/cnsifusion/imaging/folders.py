"""What lies below a folder that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from cnsifusion.errors import BadInput


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


def check_letters(path: str | Path) -> None:
    """Refuse a path that is not UTF-8 (bytes of an old archive): there ITK ends the whole program. Raises BadInput."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise BadInput("The path holds letters that are not UTF-8; rename its folders or file.") from error
