"""Damaged and hostile input of every kind, thrown at the command line: see `__main__`."""
