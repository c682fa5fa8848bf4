"""What a training checks before it begins, and its schedules."""
