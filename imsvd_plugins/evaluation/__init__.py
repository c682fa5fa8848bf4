"""What both hosts measure while a network trains, and afterwards."""
