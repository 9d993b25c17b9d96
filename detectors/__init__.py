"""Drift detectors, of use to the service that is watched and to whoever checks the watching; they import neither."""
