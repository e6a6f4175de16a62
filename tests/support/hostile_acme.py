"""An ACME server of a few lines that behaves as a test tells it to."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from josepy import b64

TYPE = "urn:ietf:params:acme:error:"


class Acme:
    """`answers` maps a path to what it says next, in order; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any, dict[str, str]]]] = {}
        self.asked: list[tuple[str, dict[str, Any], Any]] = []
        self._count = 0

    async def start(self) -> Acme:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "renewalInfo")
        self.says("/directory", 200, {name: f"{self.url}/{name}" for name in names})
        self.says("/newNonce", 200, None)
        self.says("/newAccount", 201, {"status": "valid"}, {"Location": f"{self.url}/account/1"})
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    def says(self, path: str, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.answers.setdefault(path, []).append((status, body, headers or {}))

    def refuses(self, path: str, word: str, status: int = 400, **headers: str) -> None:
        self.says(path, status, {"type": TYPE + word, "detail": f"no: {word}"}, headers)

    async def _serve(self, request: web.Request) -> web.Response:
        self._count += 1
        if request.method == "POST":
            jws = await request.json()
            header, payload = (b64.b64decode(jws[part]) for part in ("protected", "payload"))
            self.asked.append((request.path, json.loads(header), json.loads(payload) if payload else None))
        answers = self.answers.get(request.path, [(404, {"type": TYPE + "malformed"}, {})])
        status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return web.Response(
            status=status, body=octets, headers={"Replay-Nonce": f"nonce-{self._count}", **headers}
        )
