"""What a training imports: the server that runs are forked from imports it once. Hydra has not begun there."""

import hydra
import torch
from transformers import LlamaForCausalLM

import rsmoe.cli.run
import rsmoe.evaluation.evaluate_splits
import rsmoe.evaluation.report
import rsmoe.settings.train
import rsmoe.train
import rsmoe.training.run
from support import killed_runs

torch.set_num_threads(1)
__all__ = ["LlamaForCausalLM", "hydra", "killed_runs", "rsmoe"]
