"""python -m piker.cli: the same as `piker`."""

import sys

from piker.cli import main

sys.exit(main())
