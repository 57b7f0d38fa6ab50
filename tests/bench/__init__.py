"""What docs/benchmarks.md states, measured: `make bench`, or `python -m tests.bench NAME`."""
