"""Benchmarks of callboard and its peers, each taken in turns in one run; not part of the wheel.

General layout, bottom-up: `samples` (one timed stretch of work), `worker` (runs one stretch in a process of its own),
`trials` (what is to be measured), `machine` (where), `report` (table, JSON lines, plot), `rounds` (the order and the
loop), `options` (what all scenarios take on the command line); then a module or folder per scenario, and `__main__`.
Only the public names of `callboard` are used.
"""
