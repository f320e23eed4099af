"""Faults under load. Each module adds its scenarios to the registry."""

from . import apps, clocks, database, failover, network, nodes, operators, short, upgrade
from .registry import SCENARIOS

__all__ = ["SCENARIOS", "apps", "clocks", "database", "failover", "network", "nodes", "operators", "short", "upgrade"]
