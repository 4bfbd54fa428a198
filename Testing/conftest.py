"""Fixtures shared by all rings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cnsifusion.analysis import Analyzer, PatientResult

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


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    """With the report, as the command line has it; it keeps the last heads it saw."""
    from cnsifusion.analysis import Analyzer
    from cnsifusion.reporting import write_report_beside

    return Analyzer(write_report_beside)


@pytest.fixture(scope="session")
def analyzed(
    analyzer: Analyzer, simulated_image: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PatientResult, list[dict]]:
    """Folder, result and progress of the simulated image's analysis; nobody writes there."""
    folder, events = tmp_path_factory.mktemp("analyzed"), []
    return folder, analyzer.analyze(simulated_image, folder, emit=events.append), events
