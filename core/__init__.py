"""The ground floor that every room stands on.

Must never: know HTTP, ACME JSON or PKCS#11.
"""
