"""Runs one cell in a fresh, resource-limited sandbox. Knows nothing of queues or brokers."""

from __future__ import annotations

from .outcome import Outcome
from .sandbox import Sandbox
from .submission import Cell, Run

__all__ = ["Cell", "Outcome", "Run", "Sandbox"]
