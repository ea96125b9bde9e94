"""The package with another command: modules are the real ones, ``python -m aroface`` is the one beside this file."""

import os

__path__ = [*__path__, os.environ["AROFACE"]]
__version__ = "0"
