"""Errors on pairs with ground truth."""
