"""The text of the CP/CPS, its numbers and names taken from the settings that are in force.

Must never: state a value that the CA does not run with.

RFC 3647 section 6; requirements 1.10.
"""

from __future__ import annotations

from core.methods import METHODS
from core.settings import Rules, Settings
from repo_static.rendering import base_url, environment


def cp_cps(language: str, settings: Settings) -> str:
    """The CP/CPS in Markdown, its numbers and names taken from the settings that are in force."""
    return (
        environment()
        .get_template(f"cp-cps.{language}.md.j2")
        .render(
            settings=settings,
            base=base_url(settings),
            public=settings.ca.rules is Rules.PUBLIC,
            methods={name: METHODS[name].sources for name in settings.validation.methods},
        )
    )
