"""Checks before a training begins, and its schedules."""
