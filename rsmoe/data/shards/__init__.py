"""Shards: a data set as tar files, to be read by index or streamed.

`writer` packs, `dataset` reads by index, `stream` reads in order from a disk or over http: a batch is a function of
(seed, step), so that a stream resumes exactly.
"""
