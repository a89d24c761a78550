"""What others publish of the networks of frames: a file for each network, which imports without torch."""
