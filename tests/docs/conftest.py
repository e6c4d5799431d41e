"""The tests of documents find the helper beside them."""

from __future__ import annotations

import sys
from pathlib import Path

# importlib mode puts no test folder on the path
sys.path.insert(0, str(Path(__file__).parent))
