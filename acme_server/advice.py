"""What to do about a problem: one sentence for each kind, in English and in Japanese.

The problem document says what was seen; this says what a person changes.  RFC 8555 section 6.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Advice = Mapping[str, str]
"""Language tag (RFC 5646) -> sentence."""


def _said(en: str, ja: str) -> Advice:
    return MappingProxyType({"en": en, "ja": ja})


UNDECIDED = _said(
    "Nothing is wrong on your side: no verdict was reached by a fault of ours, so just try again.",
    "お客様側の問題ではありません。当認証局側の障害で判定できなかったため、もう一度お試しください。",
)
ELSEWHERE = _said(
    "We look from several places of the world and not all of them saw what the first one saw: let "
    "everybody reach the host and its name servers, without a block by country or network, and see that "
    "all name servers give the same answer.",
    "世界の複数の地点から確認したところ、最初の地点と同じ結果が得られない地点がありました。国やネットワー"
    "クによる遮断をせず、どこからでもホストとネームサーバーに届くようにし、すべてのネームサーバーが同じ答"
    "えを返すことを確かめてください。",
)
CAA = _said(
    "Add a CAA record that names us (issue, or issuewild for a wildcard) at the name that decided, or "
    "correct its accounturi or validationmethods.",
    "判定に使われた名前のCAAレコードに当認証局の名前を追加するか(issue、ワイルドカードではissuewild)、"
    "accounturiやvalidationmethodsの値を正してください。",
)
DNSSEC = _said(
    "The zone's DNSSEC signatures do not hold: sign it again, and see that the DS records at the parent "
    "belong to the keys in use.",
    "ゾーンのDNSSEC署名が正しくありません。署名し直し、親ゾーンのDSレコードが使用中の鍵のものであることを"
    "確かめてください。",
)
DNS = _said(
    "See that the name and its records exist at all of the zone's name servers, and that these answer "
    "from everywhere, by UDP and TCP, also when they are asked for types that they do not have, such as "
    "CAA.",
    "名前とレコードがすべてのネームサーバーにあり、どこからでもUDPとTCPの両方で答えること、またCAAなど持"
    "っていない種類のレコードを聞かれても正しく答えることを確かめてください。",
)
HTTP_CONNECTION = _said(
    "Let port 80 (and 443 where a redirect leads there) of every address of the name, IPv6 ones too, be "
    "reached from everywhere, or take an address that is no longer used out of the DNS.",
    "名前が持つすべてのアドレス(IPv6を含む)の80番ポート(リダイレクト先では443番も)にどこからでも接続でき"
    "るようにするか、使っていないアドレスをDNSから削除してください。",
)
TLS_CONNECTION = _said(
    "Let port 443 of every address of the name, IPv6 ones too, be reached from everywhere, or take an "
    "address that is no longer used out of the DNS.",
    "名前が持つすべてのアドレス(IPv6を含む)の443番ポートにどこからでも接続できるようにするか、使っていな"
    "いアドレスをDNSから削除してください。",
)
TLS = _said(
    "Let the server offer TLS 1.2 or later on this port and finish the handshake.",
    "このポートでTLS 1.2以上を使えるようにし、ハンドシェイクが完了するようにしてください。",
)
HTTP_ANSWER = _said(
    "Serve the key authorization and nothing else, with status 200, at the challenge's URL from every "
    "address of the name: mostly a proxy, a cache, a rewrite rule or another host at one of the "
    "addresses answers instead.",
    "チャレンジのURLで、名前が持つすべてのアドレスから、ステータス200でキー認証(key authorization)だけを"
    "返してください。多くの場合、プロキシ、キャッシュ、書き換え規則、またはアドレスの一つにある別のホスト"
    "が代わりに答えています。",
)
TLS_ANSWER = _said(
    "Let the server that holds port 443 answer the protocol acme-tls/1 with the challenge's certificate: "
    "mostly a proxy or load balancer in front of it ends TLS by itself.",
    "443番ポートのサーバーが、プロトコルacme-tls/1にチャレンジ用の証明書で答えるようにしてください。多く"
    "の場合、手前のプロキシやロードバランサーがTLSを終端しています。",
)
TXT_ANSWER = _said(
    "Publish the TXT record with the digest of this challenge, leave old ones away, and answer the "
    "challenge only after all name servers of the zone show it.",
    "このチャレンジのダイジェストをTXTレコードで公開し、古いものを消し、ゾーンのすべてのネームサーバーに"
    "反映されてからチャレンジに答えてください。",
)
PERSIST_ANSWER = _said(
    "Publish the TXT record below _validation-persist with our issuer name, the accounturi that the detail "
    "names, and policy=wildcard for a wildcard.",
    "_validation-persistの下のTXTレコードに、当認証局の名前、detailに示されたaccounturi、ワイル"
    "ドカードの場合はpolicy=wildcardを書いてください。",
)
MALFORMED = _said(
    "Correct what the detail names, or choose another method.",
    "detailに示された点を直すか、別の方式を選んでください。",
)

_BY_METHOD: Mapping[tuple[str, str], Advice] = MappingProxyType(
    {
        ("http-01", "unauthorized"): HTTP_ANSWER,
        ("http-01", "connection"): HTTP_CONNECTION,
        ("tls-alpn-01", "unauthorized"): TLS_ANSWER,
        ("tls-alpn-01", "connection"): TLS_CONNECTION,
        ("dns-persist-01", "unauthorized"): PERSIST_ANSWER,
        ("dns-persist-01", "malformed"): PERSIST_ANSWER,
    }
)
_BY_PROBLEM: Mapping[str, Advice] = MappingProxyType(
    {
        "caa": CAA,
        "connection": HTTP_CONNECTION,
        "dns": DNS,
        "malformed": MALFORMED,
        "serverInternal": UNDECIDED,
        "tls": TLS,
        "unauthorized": TXT_ANSWER,
    }
)


def about(method: str, problem: str, *, elsewhere: bool, bogus: bool) -> Advice:
    """What to do about `problem` (an RFC 8555 section 6.7 word) of a validation by `method`.

    `elsewhere`: the primary perspective saw no such thing.  `bogus`: DNSSEC did not hold.
    """
    if problem == "dns" and bogus:
        return DNSSEC
    if elsewhere and problem not in ("caa", "serverInternal"):
        return ELSEWHERE
    return _BY_METHOD.get((method, problem)) or _BY_PROBLEM.get(problem, MALFORMED)
