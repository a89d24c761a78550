"""Training on generated scenes: scenes and kinds of them, frames and flow (rendering, recording), data, loss, loop."""
