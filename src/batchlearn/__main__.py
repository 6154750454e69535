"""`python -m batchlearn` is the command `batchlearn`."""

from __future__ import annotations

import sys

from batchlearn.cli import main

if __name__ == "__main__":
    sys.exit(main())
