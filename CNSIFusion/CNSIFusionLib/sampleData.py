"""Two images in Slicer's Sample Data module: a simulated patient, and a public axial T2 downloaded only on request."""

from pathlib import Path

import slicer
from slicer.i18n import tr as _

_CATEGORY = "CNSIFusion"
_ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
#: Lesjak et al., Neuroinformatics 2016;14:403 (CC-BY), as published in the repository open_ms_data at this commit.
_OPEN_MS_DATA = (
    "https://raw.githubusercontent.com/muschellij2/open_ms_data/65704901f60650824565aa5a4818611aa89716f4"
    "/longitudinal/raw/patient01/study1_T2W.nii.gz"
)
_OPEN_MS_SHA256 = "9ca59a8473619fa20f9bf80f4d7a470f53e4d0ae64ba20acdc49297ce89ad164"
_SIMULATION_SEED = 7


def register() -> None:
    """Register both with the Sample Data module, where this Slicer has one."""
    if not hasattr(slicer.modules, "sampledata"):
        return
    from SampleData import SampleDataLogic

    if hasattr(SampleDataLogic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        SampleDataLogic.registerCustomSampleDataCategory(_CATEGORY, title=_CATEGORY)
    SampleDataLogic.registerCustomSampleDataSource(
        category=_CATEGORY,
        sampleName="CNSIFusion simulated T2",
        uris="",
        fileNames="SimulatedT2.nrrd",
        nodeNames="SimulatedT2",
        customDownloader=simulate,
        thumbnailFileName=str(_ICONS / "SampleSimulated.png"),
    )
    SampleDataLogic.registerCustomSampleDataSource(
        category=_CATEGORY,
        sampleName="CNSIFusion axial T2",
        uris=_OPEN_MS_DATA,
        fileNames="CNSIFusionAxialT2.nii.gz",
        nodeNames="AxialT2",
        checksums=f"SHA256:{_OPEN_MS_SHA256}",
        thumbnailFileName=str(_ICONS / "CNSIFusion.png"),
    )


def simulate(_source=None) -> list:
    """Simulate an infected patient's axial T2 (some seconds); returns the volume node in a list."""
    from cnsifusion.mrml.volumes import addVolumeNode
    from cnsifusion.simulation import simulate_patient

    with slicer.util.tryWithErrorDisplay(_("The patient could not be simulated."), waitCursor=True):
        patient = simulate_patient(_SIMULATION_SEED, infected=True)
        node = addVolumeNode(slicer.mrmlScene, patient.volume, "SimulatedT2")
        slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
        return [node]
