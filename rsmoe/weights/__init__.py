"""Pretrained weights: loaded by name or folder, left out of checkpoints where nobody trained them, and told by hash."""
