"""What studies share: the results of many runs, pairs under stress, and classical change detectors to compare with."""
