"""How fast the hub is, and what that costs: `python -m tests.bench`, which is `make bench`."""
