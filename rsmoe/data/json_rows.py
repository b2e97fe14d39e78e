"""`read_rows` under its former name."""

from rsmoe.data.jsonl import read_rows

__all__ = ["read_rows"]
