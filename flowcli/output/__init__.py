"""Outputs: the words of --out and --as, and the sinks that write them."""
