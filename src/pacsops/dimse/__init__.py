"""The DICOM network protocol."""
