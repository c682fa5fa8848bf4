"""What training in both hosts shares."""
