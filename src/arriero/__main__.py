"""``python -m arriero`` and the console script."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is quiet even while it is being loaded."""
    try:
        from arriero.agent.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
