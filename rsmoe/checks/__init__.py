"""Checks of values from outside: arguments of parts, configs of transformers models, and what a checkpoint may hold.

What comes out of a file is data: `trust` says which parts a checkpoint may name, `arguments` holds their arguments
against the annotations of the constructor, and `ranges` names the ranges of numbers.
"""
