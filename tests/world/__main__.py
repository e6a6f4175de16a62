"""`python -m tests.world`: the hostile Internet for a person to look at, until Ctrl-C; and words to ask it.

What runs is told by a file below the temporary directory, so that a second terminal finds it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from core.clock import SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.errors import CaError
from core.randomness import SystemRandomness
from tests.world import applicant, catalogue, screen
from tests.world.addresses import INTERNET
from tests.world.internet import PRESET, Internet, ask_everywhere, asking
from tests.world.namespaces import Namespaces
from validation.methods import CHECKS

RUNNING = Path(tempfile.gettempdir()) / f"hostile-internet-{os.getuid()}.json"


def main() -> int:
    """The exit code: 0, or 1 when a name had another verdict than the table says."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    words = parser.add_subparsers(dest="word", metavar="names | check | hijack | release | dns | ca")
    words.add_parser("names").add_argument("part", nargs="?", default="")
    check = words.add_parser("check")
    check.add_argument("name")
    check.add_argument("method", nargs="?", choices=sorted(CHECKS))
    check.add_argument("--everywhere", action="store_true", help="all perspectives, and their quorum")
    check.add_argument("--attacker", action="store_true", help="for the attacker's account")
    for word in ("hijack", "release"):
        route = words.add_parser(word)
        route.add_argument("perspective")
        route.add_argument("server", choices=["web", "leaf", "scripted"])
    question = words.add_parser("dns")
    question.add_argument("name")
    question.add_argument("type", nargs="?", default="A")
    words.add_parser("ca").add_argument("data")
    options = parser.parse_args()
    if options.word is None:
        return _run()
    if options.word == "names":
        print(screen.names(options.part))
        return 0
    return _told(options)


def _run() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Internet() as internet:
            RUNNING.write_text(json.dumps(internet.told()), encoding="utf-8")
            print(screen.first(internet), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        RUNNING.unlink(missing_ok=True)
    return 0


def _told(options: argparse.Namespace) -> int:
    try:
        told = json.loads(RUNNING.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print("no world runs here: start one with `make world` in another terminal", file=sys.stderr)
        return 1
    if options.word == "check":
        try:
            return asyncio.run(_check(options, told))
        except CaError as error:
            print(error, file=sys.stderr)
            return 1
    prefix = told["prefix"]
    if not prefix:
        print("this needs network namespaces: run the world as root", file=sys.stderr)
        return 1
    if options.word == "dns":
        place = ["nsenter", f"--net=/run/netns/{prefix}{told['codes'][0]}"]
        return subprocess.call([*place, "drill", "-D", options.name, options.type, "@127.0.0.1"])
    if options.word == "ca":
        words = [sys.executable, "-m", "tests.world.supervised", prefix, "run", "--config", str(PRESET)]
        settings = [*told["overrides"], "deployment.isolate=false"]
        os.execv(sys.executable, [*words, "--data", options.data, *(f"--set={each}" for each in settings)])
    net = Namespaces(told["codes"])
    net.prefix = prefix
    turn = net.hijack if options.word == "hijack" else net.release
    if options.perspective not in told["codes"]:
        print(f"no perspective {options.perspective}: {', '.join(told['codes'])}", file=sys.stderr)
        return 1
    address = getattr(INTERNET, options.server)
    try:
        turn(options.perspective, address)
    except RuntimeError as error:
        print(f"{str(error).strip()}\n(was it hijacked, and has it been released since?)", file=sys.stderr)
        return 1
    leads = "the attacker" if options.word == "hijack" else "its host"
    print(f"{options.perspective}: {address} leads to {leads}")
    return 0


async def _check(options: argparse.Namespace, told: dict[str, list[str]]) -> int:
    known = next((each for each in catalogue.entries() if each.name == options.name), None)
    method = options.method or (known.method if known else "http-01")
    entry = catalogue.find(options.name, method)
    thumbprint = applicant.ATTACKER if options.attacker else applicant.THUMBPRINT
    data = DataDirectory(Path(str(told["data"])))
    if options.everywhere:
        settings = load(PRESET, told["overrides"])
        print(
            screen.agreed(
                await ask_everywhere(
                    data, settings, SystemClock(), SystemRandomness(), options.name, method, thumbprint
                )
            )
        )
        return 0
    async with asking(data, told["codes"][0]) as ask:
        statement = await ask(options.name, method, thumbprint)
    print(screen.said(statement, entry))
    expected = entry is None or options.attacker or catalogue.verdict(statement) in entry.verdict.split("/")
    return 0 if expected else 1


if __name__ == "__main__":
    sys.exit(main())
