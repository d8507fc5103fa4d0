"""`python -m adverse_perception`: the command line."""

from __future__ import annotations

import sys

from adverse_perception.cli import main

sys.exit(main())
