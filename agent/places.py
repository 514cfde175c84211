"""Where arriero keeps files of its user."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where journals and results are kept: ``$ARRIERO_HOME``, else the platform's folder for a user's data."""
    home = os.environ.get("ARRIERO_HOME")
    if home:
        return Path(home).expanduser()
    from platformdirs import user_data_path

    return user_data_path("arriero", appauthor=False)
