"""Weights that come with flowcli: models.toml and the files it names."""
