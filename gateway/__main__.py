"""`python -m gateway` and the `gateway` command."""

import sys


def main() -> None:
    """Runs the command line. Ctrl-C ends it without a traceback, also while it is still being loaded."""
    try:
        from gateway.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
