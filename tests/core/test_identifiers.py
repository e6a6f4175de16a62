from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.identifiers import is_address, is_local, normalise_dns, normalise_ip, split_wildcard

LOCAL = ("localhost", "*.localhost")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("example.org", "example.org"),
        ("WWW.Example.ORG", "www.example.org"),
        ("*.example.org", "*.example.org"),
        ("a.b.c.d.example.co.jp", "a.b.c.d.example.co.jp"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("XN--BCHER-KVA.example.com", "xn--bcher-kva.example.com"),
        ("xn--wgv71a119e.jp", "xn--wgv71a119e.jp"),
        ("xn--fa-hia.example.org", "xn--fa-hia.example.org"),  # the sharp s of IDNA 2008
        ("a.xn--q9jyb4c", "a.xn--q9jyb4c"),
        ("a--b.example.org", "a--b.example.org"),
        ("1.example.org", "1.example.org"),
        ("3com.com", "3com.com"),
        ("a" * 63 + ".example.org", "a" * 63 + ".example.org"),
        ("*.github.io", "*.github.io"),  # in the private section of the list
    ],
)
def test_a_name_that_the_public_may_have_is_taken_in_lower_case(value: str, name: str) -> None:
    assert normalise_dns(value, public=True, local_names=()) == name


HOSTILE = [
    ("", "empty"),
    ("*.", "empty"),
    ("*", "leftmost label"),
    (".", "dot at its end"),
    ("example.org.", "dot at its end"),
    (".example.org", "labels is empty"),
    ("example..org", "labels is empty"),
    ("*.*.example.org", "leftmost label"),
    ("www.*.example.org", "leftmost label"),
    ("w*.example.org", "leftmost label"),
    ("*example.org", "leftmost label"),
    ("a_b.example.org", "underscore"),
    ("_acme-challenge.example.org", "underscore"),
    ("-a.example.org", "hyphen"),
    ("a-.example.org", "hyphen"),
    ("a b.example.org", "hyphen"),
    ("a/b.example.org", "hyphen"),
    ("a@example.org", "hyphen"),
    ("example.org:443", "hyphen"),
    ("https://example.org", "hyphen"),
    ("example.org\x00.evil.org", "hyphen"),
    ("example.org\n", "hyphen"),
    ("a" * 64 + ".example.org", "longer than 63"),
    (".".join(["a" * 60] * 5) + ".org", "longer than 253"),
    ("192.0.2.1", "IP address"),
    ("2001:db8::1", "IP address"),
    ("[2001:db8::1]", "IP address"),
    ("1.2.3", "number"),
    ("example.0x7f", "number"),
    ("256.256.256.256", "number"),
    ("bücher.example.com", "xn--bcher-kva.example.com"),
    ("日本。jp", "xn--wgv71a.jp"),
    ("\u0627\u200d.example.org", "characters|A-label"),
    ("ex\u0430mple.org", "xn--exmple-4nf.org"),
    ("xn--.example.org", "hyphen"),
    ("xn--a.example.org", "IDNA"),
    ("xn--999999999.example.org", "IDNA"),
    ("\u212aelvin.example.org", "kelvin.example.org"),
    ("ab--cd.example.org", "reserved"),
    ("xn--example-.org", "hyphen"),
]


@pytest.mark.clause("BR 7.1.2.7.12")
@pytest.mark.must("rfc8555.7.1.4.a-labels", "rfc8737.3.a-labels")
@pytest.mark.parametrize(("value", "why"), HOSTILE)
@pytest.mark.parametrize("public", [True, False])
def test_what_is_no_host_name_is_malformed(value: str, why: str, public: bool) -> None:
    with pytest.raises(Problem, match=why) as raised:
        normalise_dns(value, public=public, local_names=LOCAL)
    assert raised.value.type == "malformed"


@pytest.mark.row("methods.wildcard")
@pytest.mark.row("errors.new-order")
@pytest.mark.clause("BR 4.2.2")
@pytest.mark.parametrize(
    "value",
    [
        "localhost",
        "server",
        "a.localhost",
        "printer.local",
        "db.internal",
        "a.test",
        "a.example",
        "a.invalid",
        "router.home.arpa",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
        "mail.corp",
        "host.lan",
        "www.nosuchtld",
        "com",
        "co.jp",
        "*.com",
        "*.co.jp",
        "*.localhost",
    ],
)
def test_what_is_not_public_is_rejected_under_public_rules(value: str) -> None:
    with pytest.raises(Problem) as raised:
        normalise_dns(value, public=True, local_names=LOCAL)
    assert raised.value.type == "rejectedIdentifier"


@pytest.mark.row("errors.new-order")
@pytest.mark.clause("BR 4.2.2")
@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("value", ["1.2.0.192.in-addr.arpa", "a.ip6.arpa", "*.1.ip6.arpa"])
def test_names_of_reverse_zones_are_rejected_under_all_rules(value: str, public: bool) -> None:
    with pytest.raises(Problem) as raised:
        normalise_dns(value, public=public, local_names=LOCAL)
    assert raised.value.type == "rejectedIdentifier"


@pytest.mark.parametrize(
    "value", ["localhost", "a.localhost", "*.localhost", "db.internal", "a.test", "*.corp.example"]
)
def test_private_rules_take_local_names_and_names_with_a_dot(value: str) -> None:
    assert normalise_dns(value, public=False, local_names=LOCAL) == value


@pytest.mark.parametrize("value", ["server", "*.server", "localhosts"])
def test_private_rules_refuse_a_single_label_that_is_not_listed(value: str) -> None:
    with pytest.raises(Problem, match=r"ca\.local_names") as raised:
        normalise_dns(value, public=False, local_names=LOCAL)
    assert raised.value.type == "rejectedIdentifier"


def test_a_listed_subtree_does_not_hold_its_own_head() -> None:
    assert is_local("a.b.lab", ("*.lab",))
    assert not is_local("lab", ("*.lab",))
    assert not is_local("collab", ("*.lab",))


def test_a_wildcard_is_split_from_its_base() -> None:
    assert split_wildcard("*.example.org") == ("example.org", True)
    assert split_wildcard("example.org") == ("example.org", False)


def test_a_refusal_repeats_a_hostile_name_harmlessly() -> None:
    with pytest.raises(Problem) as raised:
        normalise_dns("a\r\nSet-Cookie: x\x1b[31m" + "b" * 5000, public=True)
    assert raised.value.detail.isprintable()
    assert len(raised.value.detail) < 500


@given(st.text(max_size=80))
def test_whatever_is_sent_is_taken_in_normal_form_or_refused(value: str) -> None:
    with suppress(Problem):
        name = normalise_dns(value, public=False, local_names=LOCAL)
        assert normalise_dns(name, public=False, local_names=LOCAL) == name
        assert name.isascii()
        assert name == name.lower()


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 8738 section 3")
@pytest.mark.parametrize("value", ["203.0.113.9", "0.0.0.0", "2001:db8::1", "::", "::ffff:cb00:7109"])
def test_an_address_in_its_canonical_form_is_taken_as_it_is(value: str) -> None:
    assert normalise_ip(value) == value
    assert is_address(value)


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 5952 section 4")
@pytest.mark.must("rfc8738.3.text")
@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("2001:DB8::1", '"2001:db8::1"'),
        ("2001:db8:0:0::1", '"2001:db8::1"'),
        ("::ffff:203.0.113.9", '"::ffff:cb00:7109"'),
        ("fe80::1%eth0", '"fe80::1"'),
        ("203.0.113.009", "like"),
        ("203.0.113", "like"),
        ("0xcb007109", "like"),
        ("3405803785", "like"),
        ("203.0.113.9/32", "like"),
        ("203.0.113.9.", "like"),
        ("[2001:db8::1]", "like"),
        (" 203.0.113.9", "like"),
        ("\u0662.0.0.1", "like"),
        ("www.example.com", "like"),
        ("", "like"),
    ],
)
def test_any_other_form_of_an_address_is_malformed_and_told_the_right_one(value: str, advice: str) -> None:
    with pytest.raises(Problem) as raised:
        normalise_ip(value)
    assert raised.value.type == "malformed"
    assert advice in raised.value.detail
    assert raised.value.detail.isprintable()
    assert not is_address(value)


@given(st.text(max_size=40))
def test_no_text_is_a_name_and_an_address(value: str) -> None:
    if is_address(value):
        with pytest.raises(Problem):
            normalise_dns(value, public=False, local_names=[value])


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("star", ["", "*."])
def test_a_name_has_ten_labels_at_most(public: bool, star: str) -> None:
    ten = "a." * 8 + "example.org"
    assert normalise_dns(star + ten, public=public) == star + ten
    with pytest.raises(Problem, match="more than 10 labels") as refused:
        normalise_dns(f"{star}a.{ten}", public=public)
    assert refused.value.type == "rejectedIdentifier"
