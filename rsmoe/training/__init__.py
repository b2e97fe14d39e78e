"""Training contract: a training is a list of named `rsmoe.settings.stage.Stage`; `run.run_stages` trains them in turn.

Everything random in a step is a function of (seed, stage, step): the batch (`rsmoe.data.sampling.step_sampler`), its
augmentation and the dropout. So a run that was killed continues bit for bit from any checkpoint, with no generator
state to restore.
"""
