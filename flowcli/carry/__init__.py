"""What is known of some frames, carried along the flow to all the others."""
