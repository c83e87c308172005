"""What can be set, how it is checked, and where it comes from."""
