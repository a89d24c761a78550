"""Errors of flow, measured on pairs with ground truth."""
