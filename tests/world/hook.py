#!/usr/bin/env python3
"""The DNS hook of real clients: `add|clear` with certbot's variables, dehydrated's words or lego's.

The door's URL comes in WORLD_DOOR.  It uses nothing but the standard library, since clients run it with the
system's Python.
"""

import os
import sys
import urllib.parse
import urllib.request


def asked(words: list[str]) -> tuple[str, str, str] | None:
    """Action, TXT name and value; None for the client events that are not ours."""
    if words and words[0] in ("deploy_challenge", "clean_challenge"):  # dehydrated: DOMAIN TOKEN VALUE
        return ("add" if words[0] == "deploy_challenge" else "clear", f"_acme-challenge.{words[1]}", words[3])
    if words and words[0] in ("present", "cleanup"):  # lego: FQDN VALUE
        return ("add" if words[0] == "present" else "clear", words[1], words[2])
    if words and words[0] in ("add", "clear"):
        if len(words) == 3:
            return (words[0], words[1], words[2])
        return (words[0], f"_acme-challenge.{os.environ['CERTBOT_DOMAIN']}", os.environ["CERTBOT_VALIDATION"])
    return None


def main() -> None:
    """Do what is asked."""
    found = asked(sys.argv[1:])
    if found is not None:
        action, name, value = found
        form = urllib.parse.urlencode({"name": name, "value": value}).encode()
        urllib.request.urlopen(f"{os.environ['WORLD_DOOR']}/{action}", data=form, timeout=20).close()


if __name__ == "__main__":
    main()
