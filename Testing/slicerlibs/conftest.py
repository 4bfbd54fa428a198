"""Ring 2: mrml/ on Slicer's real libraries, and the browser face in a real Chromium."""

import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[1]
DATA = TESTING.parents[1] / "shared" / "data"
sys.path.insert(0, str(TESTING))

pytest.importorskip("slicer", reason="needs the extra 'web' (slicer-core)")


@pytest.fixture(scope="session")
def realData() -> Path:
    """Folder of the real test volumes; skips where it is absent (a user's clone has none)."""
    if not DATA.is_dir():
        pytest.skip("the real test volumes (../shared/data) are not here")
    return DATA
