"""Where tools keep what can be made anew."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$ARRIERO_HOME/cache``, else the platform's folder for a user's caches; it may not exist yet."""
    home = os.environ.get("ARRIERO_HOME")
    if home:
        return Path(home).expanduser() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("arriero", appauthor=False)
