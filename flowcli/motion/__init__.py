"""Motion in numbers: statistics, tables and plots."""
