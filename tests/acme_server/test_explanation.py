"""acme_server/explanation.py: what each perspective saw, for the holder of the authorization alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acme_server import advice, explanation
from acme_server.problems import ErrorType
from core import facts
from core.evidence import Result
from core.facts import Facts, Fetch, Lookup
from core.outcome import Absence, Seen, View
from tests.support import web
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key, thumbprint
from tests.support.acme_front import BASE, Front
from tests.support.fake_dns import TableResolver, caa
from tests.support.looking_front import looking
from tests.support.web import WebServer
from validation.challenge import Challenge
from validation.dns.resolver import Fault, LookupFailure, Type
from validation.methods.txt import text_of

NAME = "www.example.com"
HERE = {f"{NAME} A": ["127.0.0.1"], f"{NAME} AAAA": []}
MARKER = b"MARKER-OF-A-BODY"


async def explained(front: Front, client: AcmeClient, name: str = NAME, method: str = "http-01") -> Answer:
    """Order, answer the challenge, let the perspectives look, and ask why."""
    order = await client.order(name)
    url = order.body["authorizations"][0]
    challenges = (await client.post(url)).body["challenges"]
    chosen = next(each for each in challenges if each["type"] == method)
    await client.post(chosen["url"], {})
    await front.run_jobs()
    return await client.post(f"{url}/explanation")


def test_there_is_advice_in_both_languages_for_every_problem_of_a_validation() -> None:
    for problem in ErrorType:
        for method in ("http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"):
            for elsewhere in (False, True):
                said = advice.about(method, problem, elsewhere=elsewhere, bogus=False)
                assert set(said) == {"en", "ja"}
                assert said["en"].endswith(".")
                assert said["ja"].endswith("。")
    assert advice.about("http-01", "dns", elsewhere=False, bogus=True) is advice.DNSSEC


async def test_the_directory_tells_where_explanations_are(front: Front) -> None:
    meta = (await front.client().get("/directory")).body["meta"]
    assert meta["explain"] == {"template": "{+authorization}/explanation"}


async def test_an_authorization_that_nobody_looked_at_has_no_attempts(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order(NAME)
    url = order.body["authorizations"][0]
    told = await subscriber.post(f"{url}/explanation")
    assert told.status == 200
    assert told.links("up") == [url]
    assert told.body == {
        "authorization": url,
        "identifier": {"type": "dns", "value": NAME},
        "wildcard": False,
        "status": "pending",
        "recorded": 0,
        "attempts": [],
    }


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_explanations_are_limited(front: Front, subscriber: AcmeClient) -> None:
    order = await subscriber.order(NAME)
    url = f"{order.body['authorizations'][0]}/explanation"
    most = front.context.settings.limits.explain_account
    answers = [await subscriber.post(url) for _ in range(most + 1)]
    assert [each.status for each in answers[:-1]] == [200] * most
    assert (answers[-1].status, answers[-1].problem) == (429, "rateLimited")
    assert answers[-1].body["limit"] == "explain-account"


async def test_another_account_learns_nothing_and_the_audit_log_is_told(
    front: Front, subscriber: AcmeClient
) -> None:
    told = await explained(front, subscriber)
    url = told.body["authorization"]
    stranger = await front.subscriber()
    before = front.counts()
    refused = await stranger.post(f"{url}/explanation")
    assert (refused.status, refused.problem) == (403, "unauthorized")
    assert NAME not in refused.octets.decode()
    assert len(front.audit("access.foreign-resource")) == 1
    assert {**front.counts(), "audit": 0} == {**before, "audit": 0}
    absent = await subscriber.post(f"{BASE}/acme/authorization/none/explanation")
    assert (absent.status, absent.problem) == (404, "malformed")
    written = await subscriber.post(f"{url}/explanation", {})
    assert (written.status, written.problem) == (400, "malformed")
    assert (await subscriber.get("/acme/authorization/none/explanation")).status == 405


@pytest.mark.clause("RFC 8555 section 8.3")
async def test_http_facts_show_each_hop_and_never_a_word_of_a_body(tmp_path: Path) -> None:
    site = web.routes(
        {
            "other.example.com /": web.response(b"<html>" + MARKER, "200 OK", f"X-Secret: {MARKER.decode()}"),
        }
    )

    async def to_other(head: str, *streams: Any) -> None:
        where = web.redirect("http://other.example.com/") if "well-known" in head else site
        await where(head, *streams)

    table = {**HERE, "other.example.com A": ["127.0.0.1"], "other.example.com AAAA": []}
    async with (
        WebServer(to_other) as server,
        looking(tmp_path, {"tokyo": TableResolver(table)}, http_port=server.port) as (front, _),
    ):
        subscriber = await front.subscriber()
        told = await explained(front, subscriber)
        (attempt,) = told.body["attempts"]
        port = server.port
        challenge = (await subscriber.post(attempt["challenge"])).body
    assert MARKER not in told.octets
    assert MARKER.decode() not in json.dumps(challenge)
    assert (attempt["kind"], attempt["method"], attempt["result"]) == ("validation", "http-01", "fail")
    assert attempt["problem"]["type"].endswith(":unauthorized")
    assert "a web page" in attempt["problem"]["detail"]
    assert attempt["advice"] == dict(advice.HTTP_ANSWER)
    (seen,) = attempt["perspectives"]
    assert (seen["code"], seen["region"], seen["primary"], seen["result"]) == ("tokyo", "APNIC", True, "fail")
    first, second = seen["control"]["requests"]
    assert first["url"] == f"http://{NAME}/.well-known/acme-challenge/{challenge['token']}"
    assert (first["address"], first["port"], first["status"]) == ("127.0.0.1", port, 302)
    assert first["location"] == "http://other.example.com/"
    assert (second["url"], second["status"]) == ("http://other.example.com/", 200)
    assert second["octets"] == len(b"<html>" + MARKER)
    assert {(each["name"], each["type"]) for each in seen["control"]["lookups"]} == {
        (name, kind) for name in (NAME, "other.example.com") for kind in ("A", "AAAA")
    }
    assert seen["caa"]["result"] == "pass"


@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.clause("RFC 8657 section 4")
async def test_the_caa_path_shows_each_name_asked_and_why_each_property_forbids(tmp_path: Path) -> None:
    records = [
        caa(0, "issue", "elsewhere.example"),
        caa(0, "issue", "ca.example; validationmethods=dns-01"),
        caa(0, "issuewild", "ca.example"),
        caa(0, "iodef", "mailto:a@example.com"),
    ]
    resolver = TableResolver({**HERE, "example.com CAA": records}, ttl=77)
    async with looking(tmp_path, {"tokyo": resolver}, http_port=1) as (front, _):
        told = await explained(front, await front.subscriber())
    (attempt,) = told.body["attempts"]
    seen = attempt["perspectives"][0]["caa"]
    assert [(each["name"], each["answer"], each["count"]) for each in seen["lookups"]] == [
        (NAME, "none", 0),
        ("example.com", "records", 4),
        ("com", "none", 0),
    ]
    assert (seen["foundAt"], seen["ttl"], seen["authenticated"]) == ("example.com", 77, True)
    assert [each["says"] for each in seen["records"]] == [
        "issue names elsewhere.example, not ca.example",
        "validationmethods does not name http-01",
        "does not concern this certificate",
        "does not concern this certificate",
    ]
    assert seen["records"][0]["record"] == '0 issue "elsewhere.example"'
    assert (seen["result"], seen["problem"]) == ("fail", "caa")


async def test_one_place_that_sees_another_thing_is_shown_with_the_quorum(tmp_path: Path) -> None:
    resolvers = {
        "tokyo": TableResolver({"_acme-challenge.www.example.com TXT": ["x"]}),
        "oregon": TableResolver({"_acme-challenge.www.example.com TXT": None, **HERE}),
    }
    async with looking(tmp_path, resolvers) as (front, _):
        subscriber = await front.subscriber()
        order = await subscriber.order(NAME)
        url = order.body["authorizations"][0]
        challenge = next(
            each for each in (await subscriber.post(url)).body["challenges"] if each["type"] == "dns-01"
        )
        made = Challenge.of(NAME, False, "", challenge["token"], thumbprint(subscriber.key))
        resolvers["tokyo"].table["_acme-challenge.www.example.com TXT"] = [text_of(made.digest), "b" * 500]
        await subscriber.post(challenge["url"], {})
        await front.run_jobs()
        told = await subscriber.post(f"{url}/explanation")
    (attempt,) = told.body["attempts"]
    assert attempt["result"] == "fail"
    assert attempt["quorum"] == {"control": "0/1", "caa": "1/1"}
    assert attempt["problem"]["detail"].startswith("During secondary validation: ")
    assert attempt["advice"] == dict(advice.ELSEWHERE)
    tokyo, oregon = attempt["perspectives"]
    (lookup,) = tokyo["control"]["lookups"]
    assert (lookup["name"], lookup["type"]) == ("_acme-challenge.www.example.com", "TXT")
    assert (lookup["dnssec"], lookup["ttl"], lookup["count"]) == ("secure", 60, 2)
    assert [len(each) for each in lookup["records"]] == [43, 80]
    (missing,) = oregon["control"]["lookups"]
    assert missing["answer"] == "nxdomain"
    assert (oregon["primary"], oregon["control"]["problem"]) == (False, "dns")


async def test_broken_dnssec_is_called_so_with_its_own_advice(tmp_path: Path) -> None:
    bogus = LookupFailure(NAME, Type.A, "SERVFAIL (EDE 7 expired)", Fault.BOGUS)
    table = {f"{NAME} A": bogus, f"{NAME} AAAA": bogus}
    async with looking(tmp_path, {"tokyo": TableResolver(table)}) as (front, _):
        told = await explained(front, await front.subscriber())
    (attempt,) = told.body["attempts"]
    assert attempt["advice"] == dict(advice.DNSSEC)
    lookups = attempt["perspectives"][0]["control"]["lookups"]
    assert [(each["answer"], each["dnssec"]) for each in lookups] == [("failure", "bogus")] * 2
    assert "EDE 7 expired" in lookups[0]["failure"]


async def test_our_own_faults_are_ours_and_their_inside_stays_ours(
    front: Front, subscriber: AcmeClient
) -> None:
    secret = "resolver 10.9.8.7:53 is away"
    front.perspectives.undecided.add(NAME)
    front.perspectives.others = (
        View("sydney", Seen(Result.INDETERMINATE, "serverInternal", secret), Seen(Result.PASS)),
        View("oregon", absence=Absence.TRANSPORT, detail="https://inner.ca.example:9443: refused"),
    )
    told = await explained(front, subscriber)
    (attempt,) = told.body["attempts"]
    for inside in ("10.9.8.7", "inner.ca.example", "the resolver is away"):
        assert inside not in told.octets.decode()
    assert attempt["problem"]["detail"] == explanation.OUR_FAULT
    assert attempt["advice"] == dict(advice.UNDECIDED)
    _, sydney, oregon = attempt["perspectives"]
    assert sydney["control"]["detail"] == explanation.OUR_FAULT
    assert (oregon["result"], oregon["absence"]) == ("transport", "it could not be reached by us")


async def test_a_caa_recheck_is_an_attempt_of_its_order(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    url = order.body["authorizations"][0]
    front.clock.at += 7 * 3600 + 1
    front.perspectives.caa_forbids.add(NAME)
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    told = await subscriber.post(f"{url}/explanation")
    recheck, validation = told.body["attempts"]
    assert (recheck["kind"], recheck["order"]) == ("caa-recheck", order.headers["Location"])
    assert (recheck["result"], recheck["advice"]) == ("fail", dict(advice.CAA))
    assert recheck["quorum"] == {"control": "", "caa": "0/0"}
    assert (validation["kind"], validation["result"]) == ("validation", "pass")
    assert "problem" not in validation


async def test_only_the_newest_attempts_are_shown_and_all_are_counted(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.undecided.add(NAME)
    order = await subscriber.order(NAME)
    url = order.body["authorizations"][0]
    challenge = (await subscriber.post(url)).body["challenges"][0]["url"]
    while (counted := front.counts()["attempts"]) < explanation.ATTEMPTS + 2:
        await subscriber.post(challenge, {})
        front.clock.at += 3600
        await front.run_jobs()
        assert front.counts()["attempts"] == counted + 1
    told = (await subscriber.post(f"{url}/explanation")).body
    assert (told["recorded"], len(told["attempts"])) == (counted, explanation.ATTEMPTS)
    times = [each["at"] for each in told["attempts"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff" * 100,
        b"\x90",
        facts.encode(Facts(fetches=(Fetch("http://\x1b[31m\u202e/", "a\nb", 80, 1, location="l" * 3000),))),
        facts.encode(Facts(caa=(Lookup("\x00" * 500, "<script>", 1, records=("é" * 50,)),))),
    ],
)
async def test_what_a_hostile_perspective_says_is_cut_and_escaped(
    front: Front, subscriber: AcmeClient, octets: bytes
) -> None:
    front.perspectives.others = (
        View("sydney", Seen(Result.FAIL, "caa", "no"), Seen(Result.FAIL, "caa", "no"), facts=octets),
    )
    told = await explained(front, subscriber)
    text = json.dumps(told.body["attempts"][0]["perspectives"], ensure_ascii=False)
    assert told.status == 200
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 8000
