"""Throughput on this machine: `make bench` or `python -m defenselib.bench --help`. Prints tables, tests nothing."""
