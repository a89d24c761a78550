"""From frames to flow: device, precision, batches and the features that are kept."""
