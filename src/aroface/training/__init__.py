"""From a recipe to weights: the loop, its schedules, its log and its resumable state."""
