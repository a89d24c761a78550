"""The networks that estimate flow, one file each; this folder's listing is their registry."""
