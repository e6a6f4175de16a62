"""The signed manifest of the repository: what it says, the daily lists that it names, how it is published."""
