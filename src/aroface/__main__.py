"""``python -m aroface``: the same as the ``aroface`` command."""

import sys

from aroface.cli import main

sys.exit(main())
