"""``python -m polyml`` is the command ``polyml``."""

from polyml.cli.main import main

if __name__ == "__main__":
    main()
