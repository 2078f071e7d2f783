"""``python -m detector COMMAND``, the same as ``lighthead COMMAND``."""

import sys

from detector.cli import main

sys.exit(main())
