"""PKCS#11 tokens and the keys in them."""
