"""Runs a validation: phases, evidence, findings, verdict."""
