"""Fakes: a mesh without sockets, threads, disks or time; see world.py."""
