"""Draws the hierarchy as an SVG for the home page: the trust anchor, and the issuing CAs below it.

It stands inside the page, and takes its colours from the style sheet; what it shows is also a list below it,
for those who do not see it.

Must never: draw what the hierarchy does not say; let a name become markup.

SVG 1.1; CP/CPS 1.3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_WIDTH = 430
_INDENT = 34
_BOX = 58
_GAP = 16
_EDGE = 1.5
_MOST_CHARACTERS = 46
"""Of a line in a box; the CJK characters that need twice the width are rare in names of CAs."""


def hierarchy(
    root: Mapping[str, str], issuers: Sequence[Mapping[str, Any]], words: Mapping[str, Any]
) -> Markup:
    """The picture of certificates' facts (publisher.py), with the `words` of a language."""
    height = (len(issuers) + 1) * _BOX + len(issuers) * _GAP + 2 * _EDGE
    parts = [
        Markup('<svg class="tree" viewBox="0 0 {} {}" role="img" aria-labelledby="tree-title">').format(
            _WIDTH, round(height, 1)
        ),
        Markup('<title id="tree-title">{}</title>').format(words["hierarchy"]),
    ]
    trunk = _INDENT / 2
    for at, issuer in enumerate(issuers):
        top = _EDGE + (at + 1) * (_BOX + _GAP)
        parts.append(
            Markup('<path d="M{} {}V{}a6 6 0 0 0 6 6H{}"/>').format(
                trunk, _BOX + _EDGE, round(top + _BOX / 2 - 6, 1), _INDENT
            )
        )
        quiet = "" if issuer["state"] == "active" and issuer["public"] else "quiet"
        facts = f"{issuer['algorithm']} · {words['use'][issuer['use']]}"
        if issuer["state"] != "active":
            facts += f" · {words['state'][issuer['state']]}"
        parts.append(_box(_INDENT, top, issuer["id"], facts, quiet))
    facts = f"{words['anchor']} · {root['algorithm']} · {root['not_before'][:4]}–{root['not_after'][:4]}"
    parts.append(_box(_EDGE, _EDGE, _name(root["subject"]), facts, "root"))
    return Markup("").join([*parts, Markup("</svg>")])


def _box(left: float, top: float, name: str, facts: str, kind: str) -> Markup:
    return Markup(
        '<g class="{}"><rect x="{}" y="{}" width="{}" height="{}" rx="8"/>'
        '<text x="{}" y="{}">{}</text><text class="facts" x="{}" y="{}">{}</text></g>'
    ).format(
        *(kind, left, top, _WIDTH - left - _EDGE, _BOX),
        *(left + 14, top + 24, name[:_MOST_CHARACTERS]),
        *(left + 14, top + 44, facts[:_MOST_CHARACTERS]),
    )


def _name(subject: str) -> str:
    """The common name of an RFC 4514 subject."""
    parts = [each for each in subject.split(",") if each.startswith("CN=")]
    return parts[0].removeprefix("CN=") if parts else subject
