"""Clients of other makes, and ours, that do the same: 32 users who send one request after the other."""
