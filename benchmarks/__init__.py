"""What docs/performance.md says, measured on this machine beside peers: `make bench`, or `python -m benchmarks`."""
