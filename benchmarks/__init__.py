"""Figures of the README, each beside its rival: `python -m benchmarks.NAME`."""
