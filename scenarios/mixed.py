"""Every endpoint of the reference service at once, as one load: what the fault catalogue is measured with.

Under the harness: `harness fault catalogue`. By hand: like the four scenarios of which it is made.
"""

from __future__ import annotations

from scenarios.features import Features
from scenarios.inference import Inference
from scenarios.rag import Rag
from scenarios.vector_search import VectorSearch

__all__ = ["Features", "Inference", "Rag", "VectorSearch"]
