"""Many perspectives: the coordinator that asks them, the ways to them, and what their words amount to.

Must never: add up what was seen in different attempts.  BR 3.2.2.9.
"""
