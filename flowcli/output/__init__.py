"""What is written, where, and in which form."""
