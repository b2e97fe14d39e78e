"""Transforms: augmentation of pictures together with the masks and words that speak of them.

`transforms.Transform` resizes, crops, turns and relights; `directions` keeps words such as "left" true of a turned
picture; `alignment` and `radiometry` are about pairs of dates; `perturb` is for stress tests.
"""
