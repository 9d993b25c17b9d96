"""Units, durations, clocks, errors and identifiers: everything may import this, it imports nothing of ours."""
