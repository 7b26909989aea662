"""Data sets: synthetic studies for simulated neighbours and tests."""
