"""Exact resume of Lightning trainings, also with changed settings."""
