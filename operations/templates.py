"""The templates and words of a small room of pages: of its directory `content`.

Must never: let a value become markup.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


@cache
def environment(content: Path) -> Environment:
    """The templates in a directory; a value that they name and nobody gave is an error."""
    return Environment(
        loader=FileSystemLoader(content),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
    )


@cache
def words(content: Path) -> dict[str, Any]:
    """The words of its pages, by language, of the file words.toml."""
    return tomllib.loads((content / "words.toml").read_text(encoding="utf-8"))
