"""The networks that make frames between two, one file each; this folder's listing is their registry."""
