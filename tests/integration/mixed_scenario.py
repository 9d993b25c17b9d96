"""Every endpoint of the reference service at once, as one load: a file of its own, so that it is also a scenario."""

from __future__ import annotations

from scenarios.features import Features
from scenarios.inference import Inference
from scenarios.rag import Rag
from scenarios.vector_search import VectorSearch

__all__ = ["Features", "Inference", "Rag", "VectorSearch"]
