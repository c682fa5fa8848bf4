"""Exact resume of mmengine's runs from whole checkpoints."""
