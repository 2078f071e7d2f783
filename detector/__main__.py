"""``python -m detector COMMAND``, the same as ``lighthead COMMAND``."""

import sys

from lighthead import main

sys.exit(main())
