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
from repo_static.rendering import duration

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Rate limits / 利用制限</title>
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.6 system-ui,sans-serif;max-width:56rem;
margin:2rem auto;padding:0 1.25rem}}dt{{font-family:monospace;font-weight:bold;margin-top:1rem}}dd{{margin:0}}
dt:target,dt:target+dd,dt:target+dd+dd{{background:Mark;color:MarkText}}</style>
<h1>Rate limits <small lang="ja">利用制限</small></h1>
<p>A request that goes beyond one of these is answered with <code>rateLimited</code> (429), a sentence that
says which limit it is and when it frees, and <code>Retry-After</code>. It costs nothing. All of a number can
be used at once; it comes back evenly over the time that is named.
<b>An order that renews by ARI in its window</b> (<code>replaces</code>, RFC 9773) <b>meets none of them.</b>
How an account stands: a POST-as-GET, signed by the account, of <code>limits.url</code> in the
<code>meta</code> of <a href="{base}/directory">the directory</a>.
<p lang="ja">制限を超えた要求には、<code>rateLimited</code>（429）、どの制限かといつ解除されるかを示す文、
<code>Retry-After</code> を返します。超えた要求は数えません。
回数は一度に使い切ることができ、示した時間をかけて均等に回復します。
<b>ARI の更新期間内の更新の注文</b>（<code>replaces</code>、RFC 9773）<b>には、どの制限も適用しません。</b>
アカウントごとの状況は、<a href="{base}/directory">ディレクトリ</a>の <code>meta</code> にある
<code>limits.url</code> へ、アカウントで署名した POST-as-GET で確認できます。
<dl>{rows}</dl>
"""


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """All limits, in both languages."""
    limits = context.settings.limits
    japanese = in_japanese(limits)
    said = "".join(
        f'<dt id="{limit}">{limit}<dd>{html.escape(each)}.<dd lang="ja">{html.escape(japanese[limit])}。'
        for limit, each in descriptions(limits).items()
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


def in_japanese(limits: Limits) -> dict[str, str]:
    """The same by the same names."""
    buckets = {each.value: (_JAPANESE[each], *Rates(limits).rate(each)) for each in Limit}
    buckets[REQUESTS] = (
        "1 つのアドレスからの、アカウントの署名のない要求（未知の鍵による要求は 10 件と数える）",
        limits.requests_address,
        limits.requests_address_period,
    )
    said = {
        limit: f"{counts}：{duration(period, 'ja')}に {count} 件まで" if count else f"{counts}：制限なし"
        for limit, (counts, count, period) in buckets.items()
    }
    wait, most = (duration(each, "ja") for each in (limits.failure_wait, limits.failure_wait_most))
    return said | {
        "failures": "1 つのアカウントで、1 つの登録ドメイン以下の検証が続けて "
        f"{limits.failures_free} 回失敗した後は、次の検証まで {wait}、"
        f"以後は失敗のたびに 2 倍（最長 {most}）待つ。成功すると解除する",
        "validations-waiting": "待機中または実行中の検証は、全アカウント合計で "
        f"{limits.validations_waiting} 件まで。その半数に達した後は、1 アカウントあたり総数の 10 分の 1 まで",
        BAD_CSR: "1 つのアカウントの、拒否された CSR："
        f"{duration(BAD_CSRS.period, 'ja')}に {BAD_CSRS.count} 件まで",
        holds.LIMIT: f"1 つのアカウントの、担当者の確認を待つ注文：{holds.MOST} 件まで",
        "attempts": "1 つのチャレンジについて、判定に至らなかった試行の回数",
    }


_JAPANESE: Mapping[Limit, str] = {
    Limit.NEW_ACCOUNT_ADDRESS: "1 つのアドレス（IPv6 は /64、/48 ではその 10 倍）からの新しいアカウント",
    Limit.NEW_ACCOUNT_BINDING: "1 つの外部アカウント鍵による新しいアカウント",
    Limit.CHANGE_ACCOUNT: "1 つのアカウントの鍵または連絡先の変更",
    Limit.NEW_ORDER_ACCOUNT: "1 つのアカウントの新しい注文に含まれる名前",
    Limit.CERTIFICATE_DOMAIN: "1 つの登録ドメイン以下の名前を含む証明書",
    Limit.CERTIFICATE_SET: "完全に同じ名前の組に対する証明書",
    Limit.LIMITS_ACCOUNT: "1 つのアカウントによる制限の照会",
    Limit.EXPLAIN_ACCOUNT: "1 つのアカウントの認可についての説明の照会",
    Limit.PREFLIGHT_ACCOUNT: "1 つのアカウントで事前に確認（preflight）する名前",
    Limit.PREFLIGHT_DOMAIN: "1 つの登録ドメイン以下で事前に確認（preflight）する名前",
}
