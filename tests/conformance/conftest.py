"""Lets the tests import the checkers that lie beside them, as the command does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
