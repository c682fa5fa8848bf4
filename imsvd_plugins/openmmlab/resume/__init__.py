"""Exact resume of mmengine's trainings, from checkpoints that are whole."""
