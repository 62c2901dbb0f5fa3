"""The chaos run: a mesh under load, faults drawn from a seed, and a judge of what happened."""
