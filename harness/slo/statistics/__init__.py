"""Intervals and what they decide. Pure functions of counts; docs/statistics.md says what they promise and what not."""
