"""Overlap: the same picture in training and test, exactly or nearly (leakage)."""
