"""Journeys of the Python library `acme`: asked by JSON on the command line, what happened goes out as JSON.

It runs in an environment of its own (environments.py): nothing of ours can be imported here.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import josepy
from acme import challenges, client, crypto_util, errors, messages, standalone
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ASK = json.loads(sys.argv[1])
CONTACT = ("mailto:person@example.com",)


class Subscriber:
    """A client with an account."""

    def __init__(self, binding: dict[str, str] | None = None) -> None:
        key = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        network = client.ClientNetwork(key, alg=josepy.ES256)
        directory = client.ClientV2.get_directory(ASK["directory"], network)
        self.key = key
        self.acme = client.ClientV2(directory, net=network)
        bound = None
        if binding is not None:
            bound = messages.ExternalAccountBinding.from_data(
                key.public_key(), binding["kid"], binding["key"], directory, binding["algorithm"]
            )
        self.registration = messages.NewRegistration(
            contact=CONTACT, terms_of_service_agreed=True, external_account_binding=bound
        )
        self.account = self.acme.new_account(self.registration)

    def issue(self, profile: str | None = None) -> str:
        """The chain (PEM) of a new certificate."""
        order = self.order(profile)
        method = challenges.HTTP01 if ASK["method"] == "http-01" else challenges.DNS01
        (challenge,) = (
            each for each in order.authorizations[0].body.challenges if isinstance(each.chall, method)
        )
        with self._answered(challenge):
            self.acme.answer_challenge(challenge, challenge.response(self.key))
            until = datetime.now() + timedelta(seconds=60)  # noqa: DTZ005  (the library compares so)
            done = self.acme.poll_and_finalize(order, until)
        return str(done.fullchain_pem)

    def order(self, profile: str | None = None) -> messages.OrderResource:
        """A new order."""
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            csr = crypto_util.make_csr(key, ipaddrs=[ip_address(ASK["name"])])
        except ValueError:
            csr = crypto_util.make_csr(key, [ASK["name"]])
        return self.acme.new_order(csr, profile=profile)

    @contextmanager
    def _answered(self, challenge: messages.ChallengeBody) -> Any:
        if isinstance(challenge.chall, challenges.DNS01):
            name = challenge.chall.validation_domain_name(ASK["name"].removeprefix("*."))
            form = {"name": name, "value": challenge.chall.validation(self.key)}
            urllib.request.urlopen(f"{ASK['door']}/add", urllib.parse.urlencode(form).encode()).close()
            yield
            urllib.request.urlopen(f"{ASK['door']}/clear", urllib.parse.urlencode(form).encode()).close()
            return
        response, validation = challenge.response_and_validation(self.key)
        resource = standalone.HTTP01RequestHandler.HTTP01Resource(
            chall=challenge.chall, response=response, validation=validation
        )
        servers = standalone.HTTP01DualNetworkedServers(("", ASK["port"]), {resource})
        servers.serve_forever()
        try:
            yield
        finally:
            servers.shutdown_and_server_close()


def issue() -> dict[str, Any]:
    return {"chain": Subscriber().issue()}


def issue_renew_revoke() -> dict[str, Any]:
    by = Subscriber()
    first, chain = by.issue(), by.issue()
    by.acme.revoke(x509.load_pem_x509_certificate(chain.encode()), 4)
    return {"first": first, "chain": chain}


def bind() -> dict[str, Any]:
    by = Subscriber(ASK["binding"])
    return {"account": by.account.uri, "bound": by.registration.external_account_binding, "chain": by.issue()}


def order_by_profile() -> dict[str, Any]:
    by = Subscriber()
    refused = ""
    try:
        by.order("there-is-none")
    except messages.Error as error:
        refused = str(error.typ)
    return {"chain": by.issue(ASK["profile"]), "refused": refused}


def renewal_time() -> dict[str, Any]:
    by = Subscriber()
    chain = by.issue()
    at, again = by.acme.renewal_time(chain.encode())
    return {"chain": chain, "at": at and at.timestamp(), "again": again.timestamp()}


def account() -> dict[str, Any]:
    by = Subscriber()
    by.acme.net.account = None  # as a client that has lost all but its key
    try:
        by.acme.new_account(by.registration)
        found = ""
    except errors.ConflictError as conflict:
        found = str(conflict.location)
    by.acme.net.account = by.account
    changed = by.acme.update_registration(
        by.account, by.account.body.update(contact=("mailto:other@example.com",))
    )
    asked = by.acme.query_registration(changed)
    authorization = by.acme.deactivate_authorization(by.order().authorizations[0])
    left = by.acme.deactivate_registration(changed)
    return {
        "account": by.account.uri,
        "found": found,
        "contact": list(asked.body.contact),
        "authorization": authorization.body.status.name,
        "status": left.body.status,
    }


JOURNEYS: dict[str, Callable[[], dict[str, Any]]] = {
    "issue": issue,
    "issue, renew, revoke": issue_renew_revoke,
    "bind an account": bind,
    "order by profile": order_by_profile,
    "ask when to renew": renewal_time,
    "account": account,
}

if __name__ == "__main__":
    print(json.dumps(JOURNEYS[ASK["do"]]()))
