"""Which state of the program this is, for results and caches that must not be mixed with those of another state."""

from __future__ import annotations

import hashlib
from pathlib import Path


def source_hash(*places: str, root: Path | None = None) -> str:
    """Hash (16 hex) of this package's files in ``places``: folders ("roi", "resources/template") or single files."""
    root = root or Path(__file__).parent
    content = hashlib.sha256()
    for place in places:
        for path in sorted([root / place, *(root / place).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                content.update(path.relative_to(root).as_posix().encode() + b"\0")
                content.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")  # Git may turn line ends
    return content.hexdigest()[:16]
