"""Fixtures shared by all rings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """``real("oms_patient01_study1/T2w.nii.gz")``: a file of the shared test data, or a skip where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"the real volumes of ../shared/data are not here ({name})")
        return path

    return find


@pytest.fixture(scope="session")
def simulated_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated, infected patient's axial T2 as a NIfTI file."""
    from cnsifusion.imaging import write_volume
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    path = tmp_path_factory.mktemp("simulated") / "T2w.nii.gz"
    write_volume(simulate_patient(7, True, SimulationSettings()).volume, path)
    return path
