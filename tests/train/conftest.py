"""Makes the training scripts importable as they are when run from the project's root."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
