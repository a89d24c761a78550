"""Many videos in one go: what there is to do, what was done already, and who does it."""
