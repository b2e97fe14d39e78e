"""Checks of values from outside: arguments of parts, configs of transformers models, and YAML files.

`arguments` holds values against the annotations of a constructor, `ranges` names the ranges of numbers.
"""
