"""The command line: one thin file per command, each with a click command called `command`."""
