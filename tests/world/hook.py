#!/usr/bin/env python3
"""The hook of real clients, which puts their answers to challenges in place and takes them away again.

It knows the words of certbot, dehydrated, lego, uacme, acmetool and mod_md.  TXT records go through the
world's door, whose URL comes in WORLD_DOOR; tokens of http-01 are files in the directory WORLD_TOKENS.  It
uses nothing but the standard library, since clients run it with the system's Python.
"""

import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

EVENTS = {
    "deploy_challenge": "add",
    "clean_challenge": "clear",
    "begin": "add",
    "done": "clear",
    "failed": "clear",
    "challenge-dns-start": "add",
    "challenge-dns-stop": "clear",
    "setup": "add",
    "teardown": "clear",
    "present": "add",
    "cleanup": "clear",
    "add": "add",
    "clear": "clear",
}
"""The clients' words for the two things that there are to do."""

NOT_OURS = 42
"""An exit code that acmetool takes for "another hook may do it", and uacme for "try the next challenge"."""


def asked(words: list[str]) -> tuple[str, str] | None:
    """Name and value of the TXT record; None when it is no event of dns-01."""
    event = words[0]
    if event in ("deploy_challenge", "clean_challenge"):  # dehydrated: DOMAIN TOKEN VALUE
        return f"_acme-challenge.{words[1]}", words[3]
    if event in ("challenge-dns-start", "challenge-dns-stop"):  # acmetool: DOMAIN FILE VALUE
        return f"_acme-challenge.{words[1]}", words[3]
    if event in ("begin", "done", "failed"):  # uacme: TYPE DOMAIN TOKEN VALUE
        return (f"_acme-challenge.{words[2]}", words[4]) if words[1] == "dns-01" else None
    if event in ("setup", "teardown"):  # mod_md: DOMAIN VALUE, the latter at first only
        return f"_acme-challenge.{words[1]}", words[2] if words[2:] else ""
    if event in ("present", "cleanup") or len(words) == 3:  # lego: FQDN VALUE
        return words[1], words[2]
    return f"_acme-challenge.{os.environ['CERTBOT_DOMAIN']}", os.environ["CERTBOT_VALIDATION"]


def main() -> None:
    """Do what is asked."""
    words = sys.argv[1:]
    action = EVENTS.get(words[0] if words else "")
    if action is None:
        sys.exit(NOT_OURS if words and words[0].startswith("challenge-") else 0)
    if words[1:2] == ["http-01"] and "WORLD_TOKENS" in os.environ:  # uacme again
        _file(action, Path(os.environ["WORLD_TOKENS"]) / words[3], words[4])
        return
    found = asked(words)
    if found is None or "WORLD_DOOR" not in os.environ:
        sys.exit(NOT_OURS)
    form = urllib.parse.urlencode({"name": found[0], "value": found[1]}).encode()
    urllib.request.urlopen(f"{os.environ['WORLD_DOOR']}/{action}", data=form, timeout=20).close()


def _file(action: str, path: Path, content: str) -> None:
    if action == "add":
        path.write_text(content)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
