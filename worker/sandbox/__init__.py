"""Runs one cell in a fresh, resource-limited sandbox. Knows nothing of queues or brokers."""

from __future__ import annotations

from .outcome import Outcome
from .run_handle import Cell, Run
from .sandbox import Sandbox

__all__ = ["Cell", "Outcome", "Run", "Sandbox"]
