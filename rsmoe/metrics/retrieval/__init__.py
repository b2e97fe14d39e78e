"""Retrieval: recall at k, zero-shot classification, semantic localisation."""
