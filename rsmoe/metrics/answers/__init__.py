"""Answers to questions: when two answers are the same, and accuracy by type."""
