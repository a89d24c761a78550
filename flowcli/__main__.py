"""`python -m flowcli`."""

import sys

from flowcli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
