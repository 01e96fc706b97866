"""`python -m beacon_cli`."""

from beacon_cli.app import main

if __name__ == "__main__":
    main()
