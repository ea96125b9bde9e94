"""``python -m aroface``: the same as the ``aroface`` command."""

import sys

from aroface.cli.main import main

sys.exit(main())
