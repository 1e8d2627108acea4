"""``python -m rtagent``."""

import sys

from rtagent.cli.main import main

sys.exit(main())
