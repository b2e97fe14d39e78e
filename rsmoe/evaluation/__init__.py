"""Evaluation: answers of a trained model, their scores, baselines and reports.

- `assistant.Assistant`: what `rsmoe.load` gives; `request`, `request_list`: pictures and words as users name them;
  `reply`, `reply_files`, `answer_file`: answers, and what is written of them, resumable;
- `open_run.open_run(path)`: a checkpoint, ready to be asked; `answer.answer_batch`: answers of one batch;
- `evaluate_splits.evaluate`: the numbers that a training run ends with; `benchmark_run.BenchmarkRun`: those of
  ``rsmoe.evaluate``, by every rank, resumable;
- `baselines`, `neighbours`, `constant_answers`: trivial answers that stand beside every result;
- `file_formats`: predictions and references in the layouts that others write; `report`, `benchmark_report`: what is
  left in the run's folder.
"""
