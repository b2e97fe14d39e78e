"""Timings that the library's claims rest on; each prints a table: ``python -m rsmoe.timings.<name>``."""
