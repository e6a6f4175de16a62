"""The public repository: plain files that anyone may read, served even when all else is down."""
