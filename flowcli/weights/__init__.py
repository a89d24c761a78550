"""Weights: what there is, where it lies, and reading files of every origin."""
