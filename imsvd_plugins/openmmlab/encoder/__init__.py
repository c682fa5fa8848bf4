"""From a checkpoint of mmengine's, which is not trusted, to an encoder."""
