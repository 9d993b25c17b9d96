"""Judging: objectives, thresholds and counts become findings. Pure functions of evidence wherever possible."""
