"""Exact resume of Lightning's trainings, and what changed settings mean for it."""
