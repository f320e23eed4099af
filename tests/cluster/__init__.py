"""Runs several hookgate nodes on one PostgreSQL server, injects faults under load, and checks the promises of the store."""
