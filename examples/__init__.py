"""Agents to learn from and to try callboard with. The runtime does not depend on them."""
