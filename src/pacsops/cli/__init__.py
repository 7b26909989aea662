"""The operator's command line: `orthanc` for people, `pacsops` for the service manager."""
