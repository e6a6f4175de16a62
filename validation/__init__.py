"""Decides whether the applicant controls the identifier and whether CAA permits; signs what it saw.

Must never: know orders or the database.
"""
