"""``imsvd-plugins demo``: what it shows, and its part in each host."""
