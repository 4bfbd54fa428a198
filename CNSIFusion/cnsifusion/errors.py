"""The errors a user can meet: each has the command line's documented exit code and says what to do."""


class CNSIFusionError(Exception):
    """Base of every expected failure; ``str(error)`` is one sentence for the user, without patient identifiers."""

    exit_code = 1


class BadInput(CNSIFusionError):
    """The image, regions, manifest or settings cannot be used (also: the input check's verdict "refuse")."""

    exit_code = 2


class BundleError(CNSIFusionError):
    """The model bundle is missing, damaged or not one this version understands."""

    exit_code = 3


class OutOfMemory(CNSIFusionError):
    """The machine has too little memory for this input."""

    exit_code = 4


class Cancelled(CNSIFusionError):
    """The user cancelled; not a failure."""

    exit_code = 5
