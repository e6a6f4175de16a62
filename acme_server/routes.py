"""Paths and methods to handlers.  A template has whole segments in braces: /acme/order/{id}/finalize.

Segments are compared as they were sent: our URLs need no percent-encoding, so one that has it is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from acme_server.http import Request, Response
from acme_server.problems import malformed, not_found

_TEMPLATE = re.compile(r"(/([A-Za-z-]+|\{[a-z]+\}))+")

Serve = Callable[[Request, Mapping[str, str]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one resource."""

    method: str
    template: str
    serve: Serve


@dataclass(frozen=True, slots=True)
class Resource:
    """The methods of one template."""

    template: str
    methods: Mapping[str, Serve]

    def serve(self, method: str) -> Serve:
        """What answers the method.  Raises `Problem` (405)."""
        found = self.methods.get(method)
        if found is None:
            allowed = ", ".join(sorted(self.methods))
            raise malformed(
                f"the method is not allowed here; use {allowed} (RFC 8555 section 6.3)",
                status=405,
                headers={"Allow": allowed},
            )
        return found


class Routes:
    """Finds the resource of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        methods: dict[str, dict[str, Serve]] = {}
        for each in routes:
            methods.setdefault(each.template, {})[each.method] = each.serve
        self._plain: dict[str, Resource] = {}
        self._with_names: dict[int, list[tuple[list[str], Resource]]] = {}
        for template, by_method in methods.items():
            resource = Resource(template, by_method)
            segments = template.split("/")
            if not _TEMPLATE.fullmatch(template):
                raise ValueError(f"{template} is no template: a segment is words, or one name in braces")
            if "{" in template:
                self._with_names.setdefault(len(segments), []).append((segments, resource))
            else:
                self._plain[template] = resource

    def find(self, path: str) -> tuple[Resource, Mapping[str, str]]:
        """The resource, and what stands in place of the names in braces.  Raises `Problem` (404)."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        segments = path.split("/")
        for template, resource in self._with_names.get(len(segments), ()):
            values = _match(template, segments)
            if values is not None:
                return resource, values
        raise not_found("resource")


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for wanted, given in zip(template, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            values[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return values
