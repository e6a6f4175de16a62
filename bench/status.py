"""`python -m bench.status [SECTION ...]`: what relying parties cost us.  Writes status.md and status.svg.

Each section is a module with a function `section()` that measures and gives a `bench.status_report.Section`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.status_report import write

SECTIONS = ("status_http", "crl", "answers")
"""In the order of the report."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.status", description=__doc__)
    parser.add_argument("sections", nargs="*", default=SECTIONS, metavar="SECTION", help=" ".join(SECTIONS))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="directory of the report")
    options = parser.parse_args(arguments)
    found = [importlib.import_module(f"bench.{each}").section() for each in options.sections]
    print(f"report: {write(options.output, found, datetime.now(UTC).strftime('%Y-%m-%d'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
