"""The kernel's scenario: tells, asks, a ring, fan-out, starting and stopping, and the memory of idle actors.

A module for each contender does the same six workloads with what its users would write; `workload` says what they have
in common.
"""
