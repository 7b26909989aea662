"""pacsops keeps DICOM traffic at hospitals flowing around Orthanc."""

from importlib.metadata import version

__version__ = version("pacsops")
