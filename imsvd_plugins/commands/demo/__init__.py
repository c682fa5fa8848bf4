"""``imsvd-plugins demo``: what it shows, and its half in each host."""
