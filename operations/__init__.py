"""The roof of the house: the command line, the wiring and the processes.  Nobody imports it.

Must never: bypass the audit log, or let the supervisor open the token.
"""
