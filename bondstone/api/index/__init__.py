"""Lists that a process keeps for itself: derived from Temporal's visibility, thrown away at will."""
