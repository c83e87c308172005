"""`python -m framecast`."""

from framecast.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
