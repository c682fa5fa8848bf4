"""Building an encoder from an mmengine checkpoint, which is not trusted."""
