"""Slicer's DICOM database (ctkDICOMDatabase; the calls used here are the same from Slicer 5.6 to 5.13)."""

from pathlib import Path

import slicer

from cnsifusion.analysis.batch import Patient
from cnsifusion.errors import BadInput

_CLOSED = "Slicer's DICOM database is not open; choose its folder in the DICOM module, then come back."
_EMPTY = "Slicer's DICOM database holds no MR images; import them in the DICOM module, then come back."
#: Stands for the files of instances that a server listed but never sent: the database has a URL and no path for them.
_NOT_HERE = Path("not retrieved from the server")


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
    """Every MR series of the database, named by its series instance UID: a table of results names no patient.

    A series that is here in part is listed with what is lacking, so that its row says so. Raises BadInput where the
    database is closed or holds none.
    """
    if not isOpen():
        raise BadInput(_CLOSED)
    database = slicer.dicomDatabase
    series = [
        number
        for patient in database.patients()
        for study in database.studiesForPatient(patient)
        for number in database.seriesForStudy(study)
        if database.fieldForSeries("Modality", number) == "MR"
    ]
    paths = {number: database.filesForSeries(number) for number in series}
    found = [
        Patient(number, tuple(Path(path) if path else _NOT_HERE for path in files))
        for number, files in paths.items()
        if any(files)
    ]
    if not found:
        raise BadInput(_EMPTY)
    return found
