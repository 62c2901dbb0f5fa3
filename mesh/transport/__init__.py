"""Sockets with every option set and justified, and the access file that leads to them."""
