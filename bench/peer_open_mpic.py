"""The peer of bench.validation: open-mpic-core's checkers under the same load, in their own environment.

Imports nothing of ours.  Reads {"resolver", "port", "hosts": [[name, token, thumbprint] ...], "checks",
"clients"} from the standard input and writes {kind: [checks/s, CPU ms]}.  In its favour: no process boundary,
no signature, no look-up of addresses (the loop is told that every name is here), one warm interpreter.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import socket
import sys
import time

import dns.asyncresolver
from open_mpic_core import (  # type: ignore[import-not-found]
    CaaCheckParameters,
    CaaCheckRequest,
    DcvAcmeDns01ValidationParameters,
    DcvAcmeHttp01ValidationParameters,
    DcvCheckRequest,
    MpicCaaChecker,
    MpicDcvChecker,
)


async def measure(asked: dict) -> dict[str, list[float]]:  # type: ignore[type-arg]
    """Each kind of check in turn, after a warm-up."""
    host, _, port = asked["resolver"].partition(":")
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], int(port)
    dns.asyncresolver.default_resolver = resolver
    loop = asyncio.get_running_loop()

    async def here(*_: object, **__: object) -> list:  # type: ignore[type-arg]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", asked["port"]))]

    loop.getaddrinfo = here  # type: ignore[method-assign,assignment]
    dcv, caa = MpicDcvChecker(), MpicCaaChecker(["ca.example"])
    hosts = asked["hosts"]

    async def http01(number: int) -> None:
        name, token, thumbprint = hosts[number % len(hosts)]
        parameters = DcvAcmeHttp01ValidationParameters(token=token, key_authorization=f"{token}.{thumbprint}")
        request = DcvCheckRequest(domain_or_ip_target=name, dcv_check_parameters=parameters)
        await both(dcv.check_dcv(request), permitted(name))

    async def dns01(number: int) -> None:
        name, token, thumbprint = hosts[number % len(hosts)]
        digest = hashlib.sha256(f"{token}.{thumbprint}".encode()).digest()
        text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        parameters = DcvAcmeDns01ValidationParameters(key_authorization_hash=text)
        request = DcvCheckRequest(domain_or_ip_target=name, dcv_check_parameters=parameters)
        await both(dcv.check_dcv(request), permitted(name))

    async def recheck(number: int) -> None:
        await both(permitted(hosts[number % len(hosts)][0]))

    def permitted(name: str):  # type: ignore[no-untyped-def]
        return caa.check_caa(
            CaaCheckRequest(domain_or_ip_target=name, caa_check_parameters=CaaCheckParameters())
        )

    async def both(*checks) -> None:  # type: ignore[no-untyped-def]
        for response in await asyncio.gather(*checks):
            if not response.check_passed:
                raise RuntimeError(f"a check did not pass: {response}")

    measured = {}
    for kind, check in (("http-01", http01), ("dns-01", dns01), ("CAA", recheck)):
        for number in range(len(hosts)):
            await check(number)
        waiting = iter(range(asked["checks"]))

        async def client(check=check, waiting=waiting) -> None:  # type: ignore[no-untyped-def]
            for number in waiting:
                await check(number)

        cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(asked["clients"])))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        measured[kind] = [asked["checks"] / seconds, 1000 * cpu / asked["checks"]]
    return measured


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(asyncio.run(measure(json.load(sys.stdin)))))
