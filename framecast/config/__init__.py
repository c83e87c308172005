"""The settings: their declaration, checks and sources."""
