"""Names in their normal form, against a naive reading of RFC 1123 and the C library's idea of an address."""

from __future__ import annotations

import socket

import dns.name
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import Problem
from core.identifiers import normalise_dns, split_wildcard

LDH = "abcdefghijklmnopqrstuvwxyz0123456789-"
LABEL = st.one_of(
    st.sampled_from(
        ["a", "WWW", "example", "com", "Org", "co", "uk", "jp", "localhost", "internal", "github", "io"]
    ),
    st.sampled_from(
        ["1", "127", "0x7f", "0177", "a1", "1a", "0x", "x" * 63, "x" * 64, "", "-", "a-", "-a", "a--b"]
    ),
    st.sampled_from(
        ["xn--bcher-kva", "XN--BCHER-KVA", "xn--a", "xn--", "ab--cd", "_dmarc", "*", "w*", "in-addr", "arpa"]
    ),
    st.text(alphabet=LDH + "_*.AZ é。ſK\x00", max_size=8),
)
NAMES = st.builds(
    lambda star, labels, dot: star + ".".join(labels) + dot,
    st.sampled_from(["", "", "", "*.", "*.*.", "*"]),
    st.lists(LABEL, max_size=6),
    st.sampled_from(["", "", "", "."]),
)
LOCAL = ("localhost", "*.localhost")


def normal(value: str, public: bool) -> str | None:
    try:
        return normalise_dns(value, public=public, local_names=() if public else LOCAL)
    except Problem as refused:
        assert refused.type in ("malformed", "rejectedIdentifier")  # noqa: PT017
        assert refused.detail.isprintable()  # noqa: PT017
        return None


def is_host_name(value: str) -> bool:
    """RFC 952, RFC 1123 section 2.1, for names without A-labels; a wildcard allowed in front."""
    if value.startswith("*."):
        value = value[2:]
    labels = value.lower().split(".")
    return (
        value.isascii()
        and len(value) <= 253
        and all(0 < len(label) <= 63 and set(label) <= set(LDH) for label in labels)
        and all(label[0] != "-" != label[-1] and label[2:4] != "--" for label in labels)
        and not all(letter in "0123456789" for letter in labels[-1])
        and not (labels[-1].startswith("0x") and set(labels[-1][2:]) <= set("0123456789abcdef"))
    )


@settings(max_examples=600)
@given(NAMES, st.booleans())
@example("K.example.org", True)
@example("*.", False)
def test_a_name_that_is_taken_has_one_form_that_every_user_of_it_reads_alike(
    value: str, public: bool
) -> None:
    name = normal(value, public)
    if name is None:
        return
    assert name == value.lower()
    assert normal(name, public) == normal(value.upper(), public) == name
    assert normal(name, False) == name  # what the public may have, a private CA may give, too
    base, _ = split_wildcard(name)
    assert dns.name.from_text(base + ".").to_text(omit_final_dot=True) == base
    # No program takes it for an address, not even one that reads "0x7f.1" as such.
    with pytest.raises(OSError):
        socket.inet_aton(base)


@settings(max_examples=600)
@given(NAMES)
def test_under_private_rules_the_host_names_with_a_dot_are_taken_and_nothing_else(value: str) -> None:
    if "xn--" in value.lower():
        return
    base, _ = split_wildcard(value.lower())
    refused_for_other_reasons = ("." not in base and base != "localhost") or (
        base.endswith(".arpa") and base.split(".")[-2] in ("in-addr", "ip6")
    )
    assert (normal(value, False) is not None) == (is_host_name(value) and not refused_for_other_reasons)


@settings(max_examples=300)
@given(st.text(max_size=80))
def test_any_text_at_all_is_taken_in_its_normal_form_or_refused(value: str) -> None:
    for public in (True, False):
        name = normal(value, public)
        assert name is None or (name == value.lower() and name.isascii())
