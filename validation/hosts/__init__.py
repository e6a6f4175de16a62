"""How a subscriber's host is dialled: where a redirect may lead, and by which connection.

Must never: connect anywhere that the address policy has not seen.
"""
