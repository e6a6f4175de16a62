#!/usr/bin/env python3
"""Ask the CA why a validation failed, how your account stands, or what would become of an order.

It signs with the account that certbot made, by the libraries that certbot brings (`acme`, `josepy`), and
prints what a person wants to know; --json prints the whole answer.

    ask.py --account /etc/letsencrypt/accounts/HOST/directory/ID preflight www.example.com
    ask.py --account … explain [AUTHORIZATION-URL]
    ask.py --account … limits [NAME …]

A CA that your system does not trust: REQUESTS_CA_BUNDLE=trust-anchor.pem.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import josepy
from acme import client, messages

LOG = Path("/var/log/letsencrypt/letsencrypt.log")
"""Where certbot writes the URLs that it used."""

AUTHORIZATION = re.compile(r"https://[^\s\"']+/acme/authorization/[A-Za-z0-9_-]+")


class Payload(dict[str, Any]):
    """A JSON object in the way that `acme` sends one."""

    def json_dumps(self, **_: Any) -> str:
        return json.dumps(self)


class Account:
    """An account of certbot's, in the directory with its private_key.json and regr.json."""

    def __init__(self, directory: Path, server: str) -> None:
        key = josepy.JWK.json_loads((directory / "private_key.json").read_text())
        uri = json.loads((directory / "regr.json").read_text())["uri"]
        account = messages.RegistrationResource(body=messages.Registration(), uri=uri)
        algorithm = josepy.RS256 if key.typ == "RSA" else josepy.ES256
        self._net = client.ClientNetwork(key, account, algorithm, user_agent="ask.py")
        self.directory = self._net.get(server or uri.split("/acme/")[0] + "/directory").json()
        self.meta = self.directory["meta"]

    def ask(self, url: str, payload: Payload | None = None) -> Any:
        """The answer to a POST, or to a POST-as-GET without a payload."""
        return self._net.post(url, payload, new_nonce_url=self.directory["newNonce"]).json()


def identifiers(names: list[str]) -> list[dict[str, str]]:
    return [
        {"type": "ip" if re.fullmatch(r"[0-9.]+|[0-9a-f:]+:[0-9a-f:]*", n) else "dns", "value": n}
        for n in names
    ]


def explain(account: Account, words: argparse.Namespace) -> tuple[Any, list[str]]:
    url = words.names[0] if words.names else last_authorization(words.log)
    told = account.ask(account.meta["explain"]["template"].replace("{+authorization}", url))
    lines = [f"{told['identifier']['value']}: {told['status']}, {told['recorded']} attempts"]
    for attempt in reversed(told["attempts"]):
        quorum = ", ".join(f"{kind} {tally}" for kind, tally in attempt["quorum"].items() if tally)
        lines += [
            "",
            f"{attempt['at']} {attempt['kind']} {attempt['method']}: {attempt['result']}"
            + (f" ({quorum})" if quorum else ""),
        ]
        lines += problem(attempt)
        for each in attempt["perspectives"]:
            lines += perspective(each)
    return told, lines


def preflight(account: Account, words: argparse.Namespace) -> tuple[Any, list[str]]:
    payload = Payload(identifiers=identifiers(words.names))
    if words.method:
        payload["methods"] = words.method
    told = account.ask(account.meta["preflight"]["url"], payload)
    lines = ["The order would be placed." if told["placed"] else "The order would be refused."]
    lines += problem(told)
    if told.get("order", {}).get("held"):
        lines.append(f"  It would wait for a person, for {', '.join(told['order']['held'])}")
    for one in told["identifiers"]:
        star = "*." if one["wildcard"] else ""
        reused = one.get("authorization", {}).get("reused")
        lines += ["", f"{star}{one['identifier']['value']}" + (": authorized already" if reused else "")]
        if "missing" in one:
            lines.append(f"  {one['missing']}")
        for method in one.get("methods", ()):
            quorum = f" ({method['quorum']['control']})" if method["quorum"]["control"] else ""
            lines.append(
                f"  {method['method']}: {method['works']}{quorum}"
                + (f", {method['note']}" if "note" in method else "")
            )
            if "record" in method:
                lines.append(f"    TXT {method['record']['name']}")
            lines += ["  " + line for line in problem(method)]
    return told, lines


def limits(account: Account, words: argparse.Namespace) -> tuple[Any, list[str]]:
    payload = Payload(identifiers=identifiers(words.names)) if words.names else None
    told = account.ask(account.meta["limits"]["url"], payload)
    return told, [f"{each['limit']}: {each['detail']}" for each in told["limits"]]


def problem(of: dict[str, Any]) -> list[str]:
    """What is wrong and what to do about it."""
    if "problem" not in of:
        return []
    kind = of["problem"]["type"].rpartition(":")[2]
    language = "ja" if os.environ.get("LANG", "").startswith("ja") else "en"
    advice = of.get("advice", {}).get(language)
    return [f"  {kind}: {of['problem']['detail']}"] + ([f"  -> {advice}"] if advice else [])


def perspective(seen: dict[str, Any]) -> list[str]:
    """One perspective's view, in short."""
    lines = [f"  {seen['code']} ({seen['region']}): {seen['result']} {seen.get('absence', '')}".rstrip()]
    for part in ("control", "caa"):
        view = seen.get(part, {})
        if view.get("detail"):
            lines.append(f"    {part}: {view['detail']}")
        for each in view.get("lookups", ()):
            answer = each.get("failure") or " ".join(each.get("records", ())) or each["answer"]
            via = "".join(f" -> {name}" for name in each.get("aliases", ()))
            told = f"{answer} [{each['dnssec']}, {each['milliseconds']} ms]"
            lines.append(f"    {each['type']} {each['name']}{via}: {told}")
        for each in view.get("requests", ()):
            what = each.get("failure") or f"{each['status']}" + (
                f" to {each['location']}" if "location" in each else ""
            )
            lines.append(f"    GET {each['url']} at {each['address']}: {what} [{each['milliseconds']} ms]")
        for each in view.get("handshakes", ()):
            what = (
                each.get("failure")
                or f"{each['alpn'] or 'no ALPN'}, certificate for {', '.join(each['names'])}"
            )
            lines.append(
                f"    TLS {each['serverName']} at {each['address']}: {what} [{each['milliseconds']} ms]"
            )
        lines += [f"    CAA {each['record']}: {each['says']}" for each in view.get("records", ())]
    return lines


def last_authorization(log: Path) -> str:
    found = AUTHORIZATION.findall(log.read_text(errors="replace")) if log.exists() else []
    if not found:
        raise SystemExit(f"name the URL of an authorization: there is none in {log}; --log names another")
    return str(found[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--account", type=Path, required=True, help="certbot's directory of the account")
    parser.add_argument(
        "--server", default="", help="the CA's directory URL, if it is not found by the account's"
    )
    parser.add_argument("--log", type=Path, default=LOG, help="certbot's log, for explain without a URL")
    parser.add_argument("--json", action="store_true", help="the whole answer")
    parser.add_argument(
        "--method", action="append", help="preflight: http-01, dns-01, …; may come more than once"
    )
    parser.add_argument("what", choices=["explain", "limits", "preflight"])
    parser.add_argument("names", nargs="*", help="names, or the URL of an authorization for explain")
    words = parser.parse_intermixed_args()
    try:
        account = Account(words.account, words.server)
        told, lines = {"explain": explain, "limits": limits, "preflight": preflight}[words.what](
            account, words
        )
    except (messages.Error, OSError, KeyError) as error:
        sys.exit(f"{words.what}: {error}")
    print(json.dumps(told, indent=2, ensure_ascii=False) if words.json else "\n".join(lines))


if __name__ == "__main__":
    main()
