"""The journal's scenario: what a layout of its table costs, and what the threads around it.

General layout: `layouts` writes with each layout, `command` says which trials there are.
"""
