"""Several conversations at once on one model; see ``conversations.py``, which does the work.

Run it as ``python tests/bench/concurrent.py [--full] [--shape SHAPE] [--server PROGRAM]``.
"""

import os
import sys

if __name__ == "__main__":
    from conversations import main

    sys.exit(main())
else:
    # Python looks for modules beside a script first: to all that import the standard library's package of this
    # name, this file is that package.
    __path__ = [os.path.join(os.path.dirname(os.__file__), "concurrent")]
