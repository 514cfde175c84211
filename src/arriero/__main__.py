"""``python -m arriero`` and the console script."""

from arriero.agent.cli.app import main

if __name__ == "__main__":
    main()
