"""Short-lived state in Redis, where several front processes or hosts serve one CA.

`Server` is the way there, `RedisNonces` and `RedisBuckets` are the homes (docs/adr/0021).  Nothing else in
the house imports the library (a contract of import-linter).
"""
