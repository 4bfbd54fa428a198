"""Real DICOM files for tests: classic and enhanced MR series written with pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cnsifusion.imaging import Volume

CLASSIC, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"


def write_series(volume: Volume, folder: Path, *, name: str = "Doe^Jane", slope: float = 1.0, **tags) -> list[Path]:
    """One classic MR file per slice of ``volume`` (whole-number voxels), in a shuffled file order."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    order = np.random.default_rng(0).permutation(volume.array.shape[0])
    paths = []
    for number, k in enumerate(order):
        header = _common(CLASSIC, volume, name, series, study, frame)
        header.InstanceNumber = int(k) + 1
        header.ImagePositionPatient = [round(float(v), 6) for v in volume.grid.to_lps(np.array([0, 0, k]))]
        header.ImageOrientationPatient = [round(float(v), 8) for v in volume.grid.matrix[:, :2].T.ravel()]
        header.PixelSpacing = [volume.spacing[1], volume.spacing[0]]
        header.SliceThickness = volume.spacing[2]
        header.RescaleSlope, header.RescaleIntercept = slope, 0
        header.PixelData = (volume.array[k] / slope).round().astype("<u2").tobytes()
        for key, value in tags.items():
            setattr(header, key, value)
        paths.append(folder / f"IM{number:04d}")
        header.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_enhanced(volume: Volume, path: Path) -> None:
    """One enhanced multi-frame MR file with the slices in reverse order."""
    header = _common(ENHANCED, volume, "Doe^Jane", generate_uid(), generate_uid(), generate_uid())
    header.NumberOfFrames = volume.array.shape[0]
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [volume.spacing[1], volume.spacing[0]]
    measures.SliceThickness = volume.spacing[2]
    orientation.ImageOrientationPatient = [round(float(v), 8) for v in volume.grid.matrix[:, :2].T.ravel()]
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    order = list(range(volume.array.shape[0]))[::-1]
    for k in order:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [round(float(v), 6) for v in volume.grid.to_lps(np.array([0, 0, k]))]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    header.PixelData = volume.array[order].astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def no_preamble(paths: list[Path]) -> None:
    """Let files begin with their meta header."""
    for path in paths:
        path.write_bytes(path.read_bytes()[132:])


def data_sets(paths: list[Path], implicit: bool = True) -> None:
    """Leave of files the data set and nothing else, as old archives write them."""
    for path in paths:
        header = pydicom.dcmread(path)
        header.file_meta, header.preamble = FileMetaDataset(), None
        header.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)


def _common(kind: str, volume: Volume, name: str, series: str, study: str, frame: str) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = kind
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = series, study, frame
    header.PatientName, header.PatientID, header.Modality = name, "ID-4711", "MR"
    header.PatientAge, header.Manufacturer = "045Y", "Test"
    header.RepetitionTime, header.EchoTime, header.MagneticFieldStrength = 4000, 100, 1.5
    header.AcquisitionMatrix = [0, volume.grid.size[0] // 2, volume.grid.size[1] // 2, 0]
    header.Rows, header.Columns = volume.array.shape[1:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    return header
