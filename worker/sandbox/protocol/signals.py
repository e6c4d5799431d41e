"""The signal by which the launcher tells a cell's process that its soft time limit has passed."""

from __future__ import annotations

import signal
from typing import Final

#: a real-time signal that neither the C library nor a usual library uses: SIGINT, SIGALRM and the others are the cell's
SOFT_LIMIT: Final = signal.SIGRTMAX - 7
