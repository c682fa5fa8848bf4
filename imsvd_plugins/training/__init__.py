"""What trainings in both hosts share."""
