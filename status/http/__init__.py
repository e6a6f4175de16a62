"""The HTTP server of relying parties: plain OCSP by a small protocol of our own, all the rest by aiohttp."""
