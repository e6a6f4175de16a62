"""The attacker's network: who is led there by a false route finds servers that say what suits him.

His name server has the address of the honest one, and every name leads to his web server, which shows control
for his own account.  He has no keys of anybody's zones.
"""

from __future__ import annotations

from dataclasses import replace

from tests.world import applicant, namespaces
from tests.world.addresses import ATTACKER_WEB
from tests.world.net import Net
from tests.world.scripted import ScriptedServers
from tests.world.zones import Zone

STOLEN = ("example.com", "insecure-example.com", "hostile.com")
"""The zones that he answers for."""


def name_server(net: Net) -> ScriptedServers:
    """His name server, at the address of the honest one."""
    records = ("@ A $web", "* A $web", f'* TXT "{applicant.digest(applicant.ATTACKER)}"')
    ours = replace(net.addresses, web=ATTACKER_WEB)
    addresses = (net.addresses.leaf,)
    zones = [Zone(name, "leaf", records) for name in STOLEN]
    return ScriptedServers(net, zones, ours, udp=addresses, tcp=addresses, place=namespaces.ATTACKER)
