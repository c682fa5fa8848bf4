"""What is measured while a network trains, and afterwards."""
