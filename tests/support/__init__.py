"""Real parts for tests: PostgreSQL, Orthanc, DICOM peers and studies to send them."""
