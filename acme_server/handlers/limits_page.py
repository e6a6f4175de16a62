"""The page that says which limits there are, with the numbers that are set here.

Each refusal by a limit leads to its line (RFC 8555 section 6.6, Link rel="help").
"""

from __future__ import annotations

import html
from collections.abc import Mapping

from acme_server.context import Context
from acme_server.exchange import Reply
from acme_server.registration import holds
from acme_server.registration.rate_limits import BAD_CSR, BAD_CSRS
from acme_server.registration.rates import GENERAL, Limit, Rates, span
from acme_server.strangers import LIMIT as REQUESTS
from core.settings import Limits

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Rate limits</title>
<style>body{{font:1.1rem/1.6 system-ui;max-width:48rem;margin:4rem auto;padding:0 1rem}}
th{{text-align:left;vertical-align:top;padding-right:1rem;white-space:nowrap;font-family:monospace}}
tr:target{{background:#ffc}}</style>
<h1>Rate limits</h1>
<p>A request that goes beyond one of these is answered with <code>rateLimited</code> (429), a sentence that
says which limit it is and when it frees, and <code>Retry-After</code>. It costs nothing. All of a number can
be used at once; it comes back evenly over the time that is named.
<p><b>An order that renews by ARI in its window</b> (<code>replaces</code>, RFC 9773) <b>meets none of
them.</b>
<p>How an account stands: a POST-as-GET, signed by the account, of <code>limits.url</code> in the
<code>meta</code> of <a href="{base}/directory">the directory</a>.
<table>{rows}</table>
"""


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """All limits."""
    said = "".join(
        f'<tr id="{limit}"><th>{limit}<td>{html.escape(each)}.'
        for limit, each in descriptions(context.settings.limits).items()
    )
    body = _PAGE.format(rows=said, base=html.escape(context.urls.base))
    return Reply(content=body.encode(), content_type="text/html; charset=utf-8")


def descriptions(limits: Limits) -> dict[str, str]:
    """By the name of a limit: how much of what it allows."""
    buckets = {each.value: (GENERAL[each], *Rates(limits).rate(each)) for each in Limit}
    buckets[REQUESTS] = (
        "requests from one address that no account has signed (one by an unknown key counts as ten)",
        limits.requests_address,
        limits.requests_address_period,
    )
    said = {
        limit: f"{count} {counts} in {span(period)}" if count else f"No limit on {counts}"
        for limit, (counts, count, period) in buckets.items()
    }
    return said | {
        "failures": f"{limits.failures_free} validations of one account below one registered domain that fail"
        f" in a row; then the next has to wait {span(limits.failure_wait)}, and after each further failure "
        f"twice as long, {span(limits.failure_wait_most)} at most. One that passes ends it",
        "validations-waiting": f"{limits.validations_waiting} validations that wait or are under way, of all "
        "accounts; once there are half as many, a tenth of the number for each account",
        BAD_CSR: f"{BAD_CSRS.count} CSRs of one account that are refused in {span(BAD_CSRS.period)}",
        holds.LIMIT: f"{holds.MOST} finalized orders of one account that wait for a person",
        "attempts": "Attempts at one challenge on which we found no verdict",
    }
