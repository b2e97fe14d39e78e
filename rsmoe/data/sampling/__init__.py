"""Sampling: which samples make step k, as a pure function of (seed, stage, step).

`step_sampler` draws the batches, `interleave` shares them between data sets, `dataset_mixture` is their union.
"""
