"""Every error pacsops raises on purpose: what happened, and the next step.

An operator meets them as::

    Error: cannot reach Orthanc at http://localhost:8042: connection refused
    hint: `orthanc status` shows what runs

Anything outside this tree that reaches the command line is a defect.
"""

from __future__ import annotations


class PacsopsError(Exception):
    """Root of the tree. `hint` is the next thing to do, usually a command."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(PacsopsError):
    """The .env file or the environment lacks or garbles a value."""


class GatewayConfigurationError(PacsopsError):
    """gateway.yml is missing or says what cannot be."""


class OrthancUnreachable(PacsopsError):
    """Orthanc's REST API did not answer (refused, timed out, reset)."""


class OrthancRefused(PacsopsError):
    """Orthanc answered with an error. `status` is the HTTP status, `details` Orthanc's own words."""

    def __init__(self, message: str, *, status: int, details: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.details = details


class NotFoundInOrthanc(OrthancRefused):
    """HTTP 404: the study, instance, modality or job is not there (any more)."""


class DatabaseUnreachable(PacsopsError):
    """PostgreSQL did not answer, or the connection broke during a transaction that is now rolled back."""


class SchemaMismatch(PacsopsError):
    """The database's migrations are not those this version of pacsops needs."""


class UnknownStudy(PacsopsError):
    """No study has this Orthanc id, StudyInstanceUID or accession number."""


class AmbiguousStudy(PacsopsError):
    """An accession number names several studies."""


class UnknownDestination(PacsopsError):
    """Orthanc has no DICOM modality of this name."""


class InvalidDestination(PacsopsError):
    """A name, AE title, host or port that DICOM or Orthanc would not take."""


class DestinationSilent(PacsopsError):
    """A destination to be added does not answer C-ECHO."""


class DestinationMute(PacsopsError):
    """A destination does not tell which images it has. `dimse_status`: what it answered, if it answered."""

    def __init__(self, message: str, *, dimse_status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.dimse_status = dimse_status


class DestinationInUse(PacsopsError):
    """A route or an open delivery still needs the destination."""


class RouterAway(PacsopsError):
    """What was asked for needs a router that runs."""


class NothingToDo(PacsopsError):
    """A retry, skip or cancel found no delivery in a state it applies to."""


class FixRefused(PacsopsError):
    """A repair that `orthanc doctor --fix` began could not be made; nothing was changed."""


class HostNotDescribed(PacsopsError):
    """Which services run on this host, and what runs them, is not written down here."""


class UnknownService(PacsopsError):
    """This host runs no service of this name."""


class NeedsRoot(PacsopsError):
    """What runs the services does not let this user in."""


class RuntimeRefused(PacsopsError):
    """What runs the services (Docker, systemd, supervisor) failed, or is not there."""


class ServiceUnhealthy(PacsopsError):
    """A service that was started does not serve."""


class AlreadyDelivered(PacsopsError):
    """A study that was delivered before is not sent once more unless somebody says so."""


class UnknownSeries(PacsopsError):
    """The study has no series of this identifier or number."""


class ConfigurationUnreadable(PacsopsError):
    """A file is no configuration of Orthanc, or its modalities are not what Orthanc would take."""


class BackupRefused(PacsopsError):
    """A backup, verification or restore was not begun: nothing was changed."""


class BackupFailed(PacsopsError):
    """A step of a backup, verification or restore failed; the message says what is left as it was."""


class DrillsForbidden(PacsopsError):
    """Faults and resets are for sites where no patient's images come in."""


class SpoolUnwritable(PacsopsError):
    """A file of the gateway's spool could not be written or removed."""


class NothingSent(PacsopsError):
    """A simulated scanner could not send any image."""
