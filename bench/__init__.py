"""Mesh beside its references, measured in turn in one run: `python -m bench --help`."""
