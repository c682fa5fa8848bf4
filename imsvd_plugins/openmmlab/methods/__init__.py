"""Algorithms, heads, and how they are built from a config."""
