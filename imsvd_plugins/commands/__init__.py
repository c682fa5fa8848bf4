"""The subcommands of ``imsvd-plugins``: each a file or a folder, with ``add_to`` for its options and ``run``."""
