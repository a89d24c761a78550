"""What others publish of the networks of flow: a file for each network, under its name, that imports without torch."""
