"""acme_server/routes.py: which resource a path is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from acme_server.http import Request, Response
from acme_server.routes import Route, Routes
from core.errors import Problem


async def nothing(request: Request, values: Mapping[str, str]) -> Response:
    return Response(200, ())


ROUTES = Routes(
    [
        Route("GET", "/directory", nothing),
        Route("HEAD", "/directory", nothing),
        Route("POST", "/acme/order/{id}", nothing),
        Route("POST", "/acme/order/{id}/finalize", nothing),
        Route("GET", "/terms/{account}/{tag}", nothing),
    ]
)


@pytest.mark.parametrize(
    ("path", "template", "values"),
    [
        ("/directory", "/directory", {}),
        ("/acme/order/a-_1", "/acme/order/{id}", {"id": "a-_1"}),
        ("/acme/order/a/finalize", "/acme/order/{id}/finalize", {"id": "a"}),
        ("/terms/a/b", "/terms/{account}/{tag}", {"account": "a", "tag": "b"}),
    ],
)
def test_a_path_finds_its_resource_and_what_it_names(
    path: str, template: str, values: dict[str, str]
) -> None:
    resource, found = ROUTES.find(path)
    assert (resource.template, found) == (template, values)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/directory/",
        "//directory",
        "/Directory",
        "/acme/order/",
        "/acme/order//finalize",
        "/acme/order/a/b",
    ],
)
def test_any_other_path_is_not_found(path: str) -> None:
    with pytest.raises(Problem) as raised:
        ROUTES.find(path)
    assert raised.value.status == 404


@pytest.mark.clause("RFC 9110 section 15.5.6")
def test_another_method_is_told_which_are_allowed() -> None:
    resource, _ = ROUTES.find("/directory")
    with pytest.raises(Problem) as raised:
        resource.serve("POST")
    assert (raised.value.status, dict(raised.value.headers)) == (405, {"Allow": "GET, HEAD"})


def test_a_template_that_would_not_mean_what_it_says_is_refused() -> None:
    with pytest.raises(ValueError, match="no template"):
        Routes([Route("GET", "/acme/{id:[0-9]}", nothing)])
