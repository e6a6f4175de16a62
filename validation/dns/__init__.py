"""How the DNS is asked: messages, sockets, and the validating resolver at the other end.

Must never: take anything but a whole answer for an answer.
"""
