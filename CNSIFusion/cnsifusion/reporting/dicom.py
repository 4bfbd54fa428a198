"""A result as DICOM: segmentation (SEG), structured report (SR, TID 1500) and key images (secondary capture).

Written with highdicom (extra ``dicom``). The SR is unverified, names the algorithm, its version and the bundle's hash,
and carries the score as a private concept; the score of a demonstration bundle is left out unless confirmed.
"""

from __future__ import annotations

import io
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from cnsifusion import __version__
from cnsifusion.analysis import PatientResult, read_result
from cnsifusion.errors import BadInput
from cnsifusion.imaging import atomic_path, check_output, read_image
from cnsifusion.imaging.dicom import read_dicom_headers
from cnsifusion.imaging.grid import restore
from cnsifusion.reporting.pictures import key_images_caption, label
from cnsifusion.roi.names import SEGMENTS, SegmentName
from cnsifusion.roi.names import Code as NamedCode
from cnsifusion.roi.region_io import read_regions

PRIVATE = "99CNSIFUSION"
SCORE = Code("CNSIPROB", PRIVATE, "Infection probability (model score, research use only)")
SCORE_FINDING = Code("CNSISCORE", PRIVATE, "Model score of central nervous system infection")
PVS_COUNT = Code("PVSCOUNT", PRIVATE, "Number of PVS-like foci")
MEASURED, COMMENT = Code("MEASURED", PRIVATE, "Region was measured"), Code("121106", "DCM", "Comment")
_BRAIN = Code("12738006", "SCT", "Brain")
_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
#: Attributes that must be present though they may be empty (type 2); de-identified files often lack them.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
#: What of the patient's group an archive files an object by; other names, addresses and the like stay behind.
_FILED_BY = {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"}
#: The source's hospital, scanner and staff, who did not make these objects, and why the patient was examined.
_OF_THE_SOURCE = {
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "InstitutionalDepartmentTypeCodeSequence",
    "StationName", "OperatorsName", "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "ConsultingPhysicianName", "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianIdentificationSequence",
    "PhysiciansOfRecordIdentificationSequence", "PhysiciansReadingStudyIdentificationSequence",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "ReasonForPerformedProcedureCodeSequence",
}  # fmt: skip
_PATIENT, _ORDER, _VISIT = 0x0010, 0x0032, 0x0038  # groups of attributes
_BANNER, _LINE = 50, 20  # pixels above the key images, and of a line below them
_MAKER = "CNSIFusion (research use only)"
_ALGORITHM_TYPES = {"automatic": "AUTOMATIC", "manual": "MANUAL"}


def export_dicom(
    result_path: str | Path, image_folder: str | Path, out: str | Path, confirm_demonstration: bool = False
) -> list[Path]:
    """Write SEG, SR and key images of a result into the folder ``out``; returns the files.

    ``image_folder`` holds the analyzed DICOM series. Raises BadInput when highdicom is missing, the folder holds
    another image than the one that was analyzed, or ``out`` is or lies in that folder.
    """
    highdicom = _highdicom()
    check_output(out)
    source, target = Path(image_folder).resolve(), Path(out).resolve()
    if source in (target, *target.parents):
        raise BadInput("Write the DICOM objects outside the series' own folder, or they mix with it.")
    result = read_result(result_path)
    folder = Path(result_path).parent
    headers, stored, frames = read_dicom_headers(Path(image_folder))
    volume = read_image(image_folder)
    if volume.sha256 != result.provenance["image_sha256"]:
        raise BadInput("The DICOM folder holds another image than the one this result was made from.")
    regions = read_regions(folder / result.files["regions"], volume)
    masks = {name: restore(mask, stored)[frames] for name, mask in regions.masks.items() if mask.any()}
    missing = {name: why for name, why in regions.withheld.items() if name in SEGMENTS and name not in masks}
    ours = "".join([result.provenance["bundle_name"], *missing.values()])
    for header in headers:
        _reduce(header, plain=ours.isascii())
    segmentation = _segmentation(highdicom, headers, masks, result)
    report = _report(highdicom, headers, segmentation, list(masks), missing, result, confirm_demonstration)
    picture = _key_image(highdicom, headers, (folder / result.files["key_images"]).read_bytes(), result)
    written = []
    for name, dataset in (("seg.dcm", segmentation), ("sr.dcm", report), ("key_images.dcm", picture)):
        with atomic_path(Path(out) / name) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
        written.append(Path(out) / name)
    return written


def _reduce(header: pydicom.Dataset, plain: bool) -> None:
    """Leave of patient and study what the new objects are filed by, empty where the source says nothing.

    Names in several character sets (Japanese, Korean, Chinese archives) become UTF-8: highdicom knows single ones only.
    So do all where our own words are not ``plain`` ASCII, which every set holds.
    """
    groups = [element for group in (_PATIENT, _ORDER, _VISIT) for element in header.group_dataset(group)]
    for element in groups + [header[k] for k in _OF_THE_SOURCE if k in header]:
        if element.keyword not in _FILED_BY:
            del header[element.tag]
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if not plain or isinstance(header.get("SpecificCharacterSet"), MultiValue):
        header.decode()
        header.SpecificCharacterSet = "ISO_IR 192"


def _highdicom() -> Any:
    try:
        for module in ("highdicom", "highdicom.seg", "highdicom.sr", "highdicom.sc"):
            import_module(module)
        return import_module("highdicom")
    except ModuleNotFoundError as error:
        raise BadInput("Writing DICOM needs the extra 'dicom' (highdicom): pip install '.[dicom]'.") from error


def _concept(sr: Any, code: NamedCode) -> Any:
    return sr.CodedConcept(code.value, code.scheme, code.meaning)


def _segmentation(
    highdicom: Any, headers: list[pydicom.Dataset], masks: dict[str, np.ndarray], result: PatientResult
) -> Any:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="CNSIFusion region proposal", family=_FAMILY, version=__version__
    )
    descriptions = [
        _description(highdicom, number, SEGMENTS[name], algorithm, result) for number, name in enumerate(masks, start=1)
    ]
    pixels = np.stack(list(masks.values()), axis=-1).astype(np.uint8)
    return highdicom.seg.Segmentation(
        source_images=headers, pixel_array=pixels, segmentation_type="BINARY", segment_descriptions=descriptions,
        series_instance_uid=generate_uid(), series_number=9001, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer=_MAKER, manufacturer_model_name="CNSIFusion", software_versions=__version__,
        device_serial_number="0", content_label="CNSIFUSION", content_description="Regions, research use only",
        series_description="CNSIFusion regions RESEARCH USE ONLY", omit_empty_frames=True,
    )  # fmt: skip


def _description(highdicom: Any, number: int, segment: SegmentName, algorithm: Any, result: PatientResult) -> Any:
    made = result.provenance["region_origin"].get(segment.name, "")
    kind = _ALGORITHM_TYPES.get(made, "SEMIAUTOMATIC")
    description = highdicom.seg.SegmentDescription(
        segment_number=number, segment_label=segment.name,
        segmented_property_category=_concept(highdicom.sr, segment.category),
        segmented_property_type=_concept(highdicom.sr, segment.type), algorithm_type=kind,
        algorithm_identification=None if kind == "MANUAL" else algorithm,
        tracking_uid=generate_uid(), tracking_id=segment.name,
    )  # fmt: skip
    if segment.side_code is not None:
        modifier = _concept(highdicom.sr, segment.side_code)
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return description


def _report(
    highdicom: Any,
    headers: list[pydicom.Dataset],
    segmentation: Any,
    names: list[str],
    missing: dict[str, str],
    result: PatientResult,
    confirm_demonstration: bool,
) -> Any:
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(), name="CNSIFusion", manufacturer_name=_MAKER, model_name=result.model
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=Code("121007", "DCM", "Device"), observer_identifying_attributes=device
        )
    )
    groups = [_region_group(sr, segmentation, n, name, result) for n, name in enumerate(names, start=1)]
    groups += [_missing_group(sr, name, why) for name, why in missing.items()]
    if not result.demonstration or confirm_demonstration:
        groups.append(_score_group(sr, result))
    content = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=Code("241601008", "SCT", "MRI of head"),
        imaging_measurements=groups,
        title=Code("126000", "DCM", "Imaging Measurement Report"),
    )
    return sr.Comprehensive3DSR(
        evidence=[*headers, segmentation], content=content[0], series_instance_uid=generate_uid(), series_number=9002,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer=_MAKER, manufacturer_model_name="CNSIFusion",
        software_versions=__version__, is_complete=True, is_verified=False,
        series_description="CNSIFusion measurements RESEARCH USE ONLY",
    )  # fmt: skip


def _algorithm(sr: Any, result: PatientResult) -> Any:
    parameters = [f"bundle sha256 {result.provenance['bundle_sha256']}", f"bundle {result.provenance['bundle_name']}"]
    if result.demonstration:
        parameters.append("DEMONSTRATION bundle trained on simulated patients, not meaningful for patients")
    return sr.AlgorithmIdentification(f"CNSIFusion {result.model}", __version__, parameters)


def _region_group(sr: Any, segmentation: Any, number: int, name: str, result: PatientResult) -> Any:
    row = result.statistics["segments"][name]
    segment = SEGMENTS[name]
    signal = Code("110852", "DCM", "MR signal intensity")
    measurements = [
        sr.Measurement(Code("118565006", "SCT", "Volume"), float(row["volume_ml"]), Code("mL", "UCUM", "milliliter")),
        sr.Measurement(
            signal, float(row["mean"]), Code("1", "UCUM", "no units"), derivation=Code("373098007", "SCT", "Mean")
        ),
        sr.Measurement(
            signal, float(row["sd"]), Code("1", "UCUM", "no units"),
            derivation=Code("386136009", "SCT", "Standard Deviation"),
        ),
    ]  # fmt: skip
    if name.startswith("PVS"):
        measurements.append(sr.Measurement(PVS_COUNT, result.pvs[segment.side], Code("1", "UCUM", "no units")))
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), name),
        referenced_segment=sr.ReferencedSegment.from_segmentation(segmentation, number),
        finding_type=_concept(sr, segment.type),
        finding_sites=_side(sr, segment),
        measurements=measurements,
    )


def _side(sr: Any, segment: SegmentName) -> list[Any] | None:
    """The patient's side of a region as a code: programs that read the report do not go by names."""
    code = segment.side_code
    return [sr.FindingSite(_BRAIN, laterality=_concept(sr, code))] if code is not None else None


def _missing_group(sr: Any, name: str, why: str) -> Any:
    """A region that the reader rejected or the proposal withheld, with the sentence that the panel shows."""
    segment = SEGMENTS[name]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), name),
        finding_type=_concept(sr, segment.type),
        finding_sites=_side(sr, segment),
        qualitative_evaluations=[sr.QualitativeEvaluation(MEASURED, Code("373067005", "SCT", "No"))],
    )
    comment = sr.TextContentItem(COMMENT, why, relationship_type=sr.RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(comment)
    return group


def _score_group(sr: Any, result: PatientResult) -> Any:
    algorithm = _algorithm(sr, result)
    score = sr.Measurement(SCORE, round(100 * result.patient.probability, 1), Code("%", "UCUM", "percent"))
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), "Model score of the patient"),
        finding_type=SCORE_FINDING, algorithm_id=algorithm, measurements=[score],
    )  # fmt: skip


def _key_image(highdicom: Any, headers: list[pydicom.Dataset], picture: bytes, result: PatientResult) -> Any:
    """The key images with RESEARCH USE ONLY and what each row is burnt in, as a secondary capture of the same study."""
    with Image.open(io.BytesIO(picture)) as sheet:
        caption, bottom = textwrap.wrap(key_images_caption(result), sheet.width // 8), _BANNER + sheet.height
        labelled = Image.new("RGB", (sheet.width, bottom + _LINE * (len(caption) + 1)))
        labelled.paste(sheet, (0, _BANNER))
    for number, line in enumerate(caption, start=1):
        label(labelled, line, (labelled.width // 2, bottom + _LINE * number), 14)
    words = "RESEARCH USE ONLY" + (" - DEMONSTRATION, not meaningful for patients" if result.demonstration else "")
    label(labelled, words, (labelled.width // 2, _BANNER // 2), min(24, labelled.width // (len(words) // 2 + 2)))
    capture = highdicom.sc.SCImage.from_ref_dataset(
        ref_dataset=headers[0], pixel_array=np.asarray(labelled), photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", series_instance_uid=generate_uid(), series_number=9003,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer=_MAKER, patient_orientation=("L", "P"),
        series_description="CNSIFusion key images RESEARCH USE ONLY",
    )  # fmt: skip
    capture.Laterality = ""  # type 2C: the head is no paired part
    return capture
