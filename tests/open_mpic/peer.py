"""open-mpic-core as the other end, run by its own interpreter (environment.py): a service, or a coordinator.

    python peer.py service CONFIG       its checkers behind /dcv and /caa; says its port when it serves
    python peer.py coordinate CONFIG    its coordinator asks the perspectives of CONFIG; prints the responses

Nothing of ours is imported here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from typing import Any

import aiohttp
import dns.asyncresolver
from aiohttp import web
from open_mpic_core import (
    CaaCheckRequest,
    CaaCheckResponse,
    DcvCheckRequest,
    DcvCheckResponse,
    MpicCaaChecker,
    MpicCaaRequest,
    MpicCoordinator,
    MpicCoordinatorConfiguration,
    MpicDcvChecker,
    MpicDcvRequest,
    RemotePerspective,
)
from pydantic import TypeAdapter

REPLIES = {"dcv": DcvCheckResponse, "caa": CaaCheckResponse}


def lead_to_loopback(ports: dict[int, int]) -> None:
    """Every name of the test world is on loopback, at other ports: its checkers ask the system for names."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(host, str) and host.endswith(".example.com"):
            return ask("127.0.0.1", ports[int(port)], *rest, **more)
        return ask(host, port, *rest, **more)

    socket.getaddrinfo = getaddrinfo


async def service(config: dict[str, Any]) -> None:
    lead_to_loopback({80: config["http_port"], 443: config["tls_port"]})
    host, _, port = config["resolver"].rpartition(":")
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], int(port)
    dcv, caa = MpicDcvChecker(http_client_timeout=5), MpicCaaChecker(["their-default.example"])
    dcv.resolver = caa.resolver = resolver

    async def check_dcv(request: web.Request) -> web.Response:
        asked = TypeAdapter(DcvCheckRequest).validate_json(await request.read())
        return web.json_response(text=(await dcv.check_dcv(asked)).model_dump_json())

    async def check_caa(request: web.Request) -> web.Response:
        asked = TypeAdapter(CaaCheckRequest).validate_json(await request.read())
        return web.json_response(text=(await caa.check_caa(asked)).model_dump_json())

    application = web.Application()
    application.add_routes([web.post("/dcv", check_dcv), web.post("/caa", check_caa)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().create_future()


async def coordinate(config: dict[str, Any]) -> None:
    context = ssl.create_default_context(cafile=config["root"])
    context.load_cert_chain(config["identity"], password=config["passphrase"])
    places = {place["code"]: place for place in config["perspectives"]}

    async def call(perspective: RemotePerspective, check_type: Any, request: Any) -> Any:
        place = places[perspective.code]
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{place['url']}/{check_type.value}",
                data=request.model_dump_json(),
                headers={"Content-Type": "application/json"},
                ssl=context,
                server_hostname=place["name"],
            ) as response,
        ):
            body = await response.read()
            assert response.status == 200, body
            return TypeAdapter(REPLIES[check_type.value]).validate_json(body)

    coordinator = MpicCoordinator(
        call,
        MpicCoordinatorConfiguration(
            [RemotePerspective(code=place["code"], rir=place["region"]) for place in places.values()],
            len(places),
            1,
            "secret",
        ),
    )
    kinds = {"dcv": MpicDcvRequest, "caa": MpicCaaRequest}
    answers = []
    for each in config["requests"]:
        asked = TypeAdapter(kinds[each["check_type"]]).validate_python(each)
        answers.append(json.loads((await coordinator.coordinate_mpic(asked)).model_dump_json()))
    print(json.dumps(answers))


def main() -> None:
    command, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    asyncio.run({"service": service, "coordinate": coordinate}[command](config))


if __name__ == "__main__":
    main()
