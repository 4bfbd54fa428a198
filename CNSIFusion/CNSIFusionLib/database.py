"""Slicer's DICOM database (ctkDICOMDatabase), where this Slicer has one and it is open."""

from pathlib import Path

import slicer

from cnsifusion.analysis.batch import Patient

_MODALITY = "0008,0060"


def isOpen() -> bool:
    """Whether there is a database to read from."""
    database = getattr(slicer, "dicomDatabase", None)
    return database is not None and bool(database.isOpen)


def instanceFiles(uids) -> list:
    """Files of SOP instance UIDs; those the database does not know are left out."""
    if not isOpen():
        return []
    return [Path(path) for path in map(slicer.dicomDatabase.fileForInstance, uids) if path]


def patients() -> list:
    """Every MR series of the database, named by its series instance UID: a table of results names no patient."""
    if not isOpen():
        return []
    database, found = slicer.dicomDatabase, []
    for patient in database.patients():
        for study in database.studiesForPatient(patient):
            for series in database.seriesForStudy(study):
                files = tuple(Path(path) for path in database.filesForSeries(series))
                if files and database.fileValue(str(files[0]), _MODALITY) == "MR":
                    found.append(Patient(series, files))
    return found
