"""Training on generated scenes: synthetic (the scenes), loss, loop."""
