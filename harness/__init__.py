"""slo-harness: load tests and SLO validation for AI databases, inference services and what watches them."""

__version__ = "0.1.0"
