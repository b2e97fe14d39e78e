"""Formats of predictions and references: ours, and those of other programs."""
