"""The router: Orthanc's facts become deliveries, deliveries become jobs, and every job's end is written down."""
