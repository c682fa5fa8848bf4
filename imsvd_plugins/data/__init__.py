"""Images that both hosts and the reports read."""
