"""Where flow and frames go: what the words of --out and --as mean, and the sinks behind them."""
