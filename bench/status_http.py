"""OCSP answers per second by HTTP, beside nginx serving a static file of the same size in the same run.

wrk asks about a thousand certificates in turn (*hot*), or about a hundred thousand at random (*wide*: hardly
any request is repeated within a second), on keep-alive connections, for a few seconds; every load loop is
bounded by that.  On a machine of two cores wrk takes its share of them, so that besides the rate there is the
rate *per core of the server*: answers divided by the seconds of CPU that the server's processes used.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from bench import status_lab
from bench.picture import Bar, Chart
from bench.processes import cost
from bench.status_report import Section
from tests.world.addresses import free_port

SECONDS = 3
CONNECTIONS = 32
START = 30.0
"""Seconds in which a server must be ready."""

AIM = 1.0
"""Of nginx's rate per core; 0.5 was the first aim."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one load of one server gave.  `per_core` is answers for a second of the server's CPU."""

    server: str
    asked: str
    method: str
    workers: int
    rate: float
    per_core: float
    p50: float
    p99: float


def load(url: str, script: Path, pids: Sequence[int], server: str, asked: str, method: str) -> Rate:
    """Have wrk ask for `SECONDS`; the processes `pids` (and theirs) answer."""
    before = sum(cost(pid).cpu for pid in pids)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script), url]
    told = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 30, check=True).stdout
    spent = sum(cost(pid).cpu for pid in pids) - before
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(told)
    requests = int(_found(r"(\d+) requests in", told))
    return Rate(
        server,
        asked,
        method,
        len(pids),
        float(_found(r"Requests/sec:\s+([\d.]+)", told)),
        requests / max(spent, 0.01),
        _milliseconds(_found(r"\n\s+50%\s+(\S+)", told)),
        _milliseconds(_found(r"\n\s+99%\s+(\S+)", told)),
    )


def scripts(directory: Path, requests: Sequence[bytes], asked: str) -> dict[str, Path]:
    """wrk's scripts: GET and POST of each request, and GET of as many files: in turn, or at random."""
    paths = [f"/ocsp/{quote(base64.b64encode(each).decode(), safe='')}" for each in requests]
    names = [f"/file/{number:0{len(paths[0]) - 6}d}" for number in range(len(paths))]
    written = {}
    for name, method, values in (
        ("GET", "GET", paths),
        ("POST", "POST", [base64.b16encode(each).decode() for each in requests]),
        ("file", "GET", names),
    ):
        script, listed = directory / f"{name}.lua", directory / f"{name}.txt"
        listed.write_text("".join(f"{value}\n" for value in values))
        script.write_text(_LUA["make"] + _LUA[method] + _LUA[asked].replace("LISTED", str(listed)))
        written[name] = script
    return written


_LUA = {
    "make": """local made, at = {}, 0
local function octet(hex) return string.char(tonumber(hex, 16)) end
""",
    "GET": """local function make(path) return wrk.format("GET", path) end
""",
    "POST": """local headers = {["Content-Type"] = "application/ocsp-request"}
local function make(hex) return wrk.format("POST", "/ocsp", headers, (hex:gsub("..", octet))) end
""",
    "hot": """function init() for each in io.lines("LISTED") do made[#made + 1] = make(each) end end
function request() at = at % #made + 1 return made[at] end
""",
    "wide": """function init() for each in io.lines("LISTED") do made[#made + 1] = make(each) end end
function request() return made[math.random(#made)] end
""",
}


@contextlib.contextmanager
def workers(kind: str, loop: str, count: int, directory: Path) -> Iterator[tuple[str, list[int]]]:
    """`count` processes of bench.status_lab on one port; its URL and their pids."""
    port = free_port()
    command = [sys.executable, "-m", "bench.status_lab", kind, loop, str(port), str(directory)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for each in running:
            assert each.stdout is not None
            if each.stdout.readline() != "ready\n":
                raise RuntimeError(f"{kind} on {loop} did not start")
        yield f"http://127.0.0.1:{port}", [each.pid for each in running]
    finally:
        for each in running:
            each.send_signal(signal.SIGTERM)
        for each in running:
            each.wait(START)


@contextlib.contextmanager
def nginx(
    count: int, directory: Path, names: int, length: int, digits: int
) -> Iterator[tuple[str, list[int]]]:
    """nginx with `count` workers and `names` files of `length` octets below /file/."""
    port, root = free_port(), directory / "nginx"
    (root / "file").mkdir(parents=True, exist_ok=True)
    for number in range(names):
        (root / "file" / f"{number:0{digits}d}").write_bytes(bytes(length))
    configuration = root / "nginx.conf"
    configuration.write_text(
        f"daemon off; worker_processes {count}; pid {root}/pid; error_log {root}/error.log; user root;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;\n"
        "  default_type application/ocsp-response; open_file_cache max=2000; open_file_cache_valid 60s;\n"
        "  add_header Cache-Control 'max-age=3600, public, no-transform, must-revalidate';\n"
        f"  client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n"
        f"  uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n"
        f"  server {{ listen 127.0.0.1:{port} reuseport; root {root}; }} }}\n"
    )
    process = subprocess.Popen(
        ["nginx", "-p", str(root), "-c", str(configuration), "-e", f"{root}/error.log"]
    )
    try:
        until = time.monotonic() + START
        while not (root / "pid").exists() or not (root / "pid").read_text().strip():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((root / "error.log").read_text())
            time.sleep(0.05)
        time.sleep(0.3)
        yield f"http://127.0.0.1:{port}", [process.pid]
    finally:
        process.terminate()
        process.wait(START)
        shutil.rmtree(root)


def measure(
    kinds: Sequence[tuple[str, str]], asked: str = "hot", counts: Sequence[int] = (1, 2)
) -> list[Rate]:
    """All of `kinds` (of bench.status_lab, with its loop) and nginx, by one worker and by two."""
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-status-", dir=os.environ.get("BENCH_TMP")) as name:
        directory = Path(name)
        number = status_lab.HOT if asked == "hot" else status_lab.WIDE
        requests = asyncio.run(status_lab.prepare(directory, number))
        lua = scripts(directory, requests, asked)
        digits = len(f"/ocsp/{quote(base64.b64encode(requests[0]).decode(), safe='')}") - 6
        length = 0
        for count in counts:
            for kind, loop in kinds:
                with workers(kind, loop, count, directory) as (url, pids):
                    length = length or _length(url, requests[0])
                    for method in ("GET", "POST"):
                        found.append(load(url, lua[method], pids, f"{kind}, {loop}", asked, method))
                        print(found[-1], flush=True)
            with nginx(count, directory, len(requests), length, digits) as (url, pids):
                rate = load(url, lua["file"], pids, "nginx, a file", asked, "GET")
                found.append(replace(rate, workers=count))
                print(found[-1], flush=True)
    return found


def section() -> Section:
    """For bench.status."""
    rates = measure([("product", "uvloop"), ("protocol", "uvloop")])
    rates += measure([("product", "uvloop")], "wide")
    return Section("OCSP by HTTP", _lines(rates), _charts(rates))


def _lines(rates: Sequence[Rate]) -> list[str]:
    lines = [
        f"wrk, one thread, {CONNECTIONS} keep-alive connections, {SECONDS} s each; all is signed ahead.",
        f"*Hot*: {status_lab.HOT:,} certificates in turn, so that nearly each request was answered in the",
        f"same second before. *Wide*: {status_lab.WIDE:,} at random, so that nearly none was: it is read,",
        "found, compared with the register, put together. Real load lies between. *Per core* is answers for",
        "a second of the server's own CPU: wrk takes its share of the cores, and with two workers it is",
        "starved. *Of nginx* compares that with nginx as hot or as wide, with as many workers and files (it",
        "keeps 2,000 of them open). *product* is the status process's server and responder; *protocol* is",
        "the server alone, with its answers in a dict.",
        "",
        "| server | asked | | workers | answers/s | per core | of nginx | p50 ms | p99 ms |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    file = {(each.asked, each.workers): each.per_core for each in rates if each.server.startswith("nginx")}
    lines += [
        f"| {each.server} | {each.asked} | {each.method} | {each.workers} | {each.rate:,.0f}"
        f" | {each.per_core:,.0f} | {each.per_core / file[each.asked, each.workers]:.2f}"
        f" | {each.p50:.2f} | {each.p99:.2f} |"
        for each in rates
    ]
    return [*lines, "", f"The aim is {AIM} of nginx."]


def _charts(rates: Sequence[Rate]) -> list[Chart]:
    def bars(value: str) -> list[Bar]:
        return [
            Bar(
                f"{each.server.split(',')[0]} {each.asked} {each.method}, {each.workers}",
                "peer" if each.server.startswith("nginx") else "ours",
                getattr(each, value),
            )
            for each in rates
        ]

    return [
        Chart("OCSP answers for a second of the server's CPU, by one worker and two", "/s", bars("per_core")),
        Chart("OCSP answers a second", "/s", bars("rate")),
        Chart("p99", "ms", bars("p99")),
    ]


def _length(url: str, request: bytes) -> int:
    host, _, port = url.removeprefix("http://").partition(":")

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /ocsp HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n%b"
            % (len(request), request)
        )
        answer = await reader.read()
        writer.close()
        return len(answer.partition(b"\r\n\r\n")[2])

    return asyncio.run(ask())


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk said: {text}")
    return found[1]


def _milliseconds(text: str) -> float:
    value = _found(r"^([\d.]+)", text)
    unit = text.removeprefix(value)
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    # The choice of docs/adr/0034: `python -m bench.status_http`.
    KINDS = [
        (kind, loop) for kind in ("protocol", "low-level", "application") for loop in ("uvloop", "asyncio")
    ]
    print(*_lines(measure(KINDS)), sep="\n")
