"""Figures of what moves: statistics, tables and plots."""
