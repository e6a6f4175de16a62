"""`python -m tests.world.inside PREFIX operations.process ...`: a perspective in its own namespace.

It stands where `operations.process` does (tests/world/supervised.py); other processes stay where they are.
"""

from __future__ import annotations

import sys

from operations.process import main
from tests.world.namespaces import enter

if __name__ == "__main__":
    prefix, _, *words = sys.argv[1:]
    if "--code" in words:
        enter(prefix + words[words.index("--code") + 1])
    sys.exit(main(words))
