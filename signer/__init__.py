"""Carries an approved request through the issuance cycle to a stored certificate.

Must never: know ACME orders; trust its caller.
"""
