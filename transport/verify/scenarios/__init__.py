"""What is done to a node: one file for each kind, each with the lines of the table that it alone checks.

What a scenario sees on its connections is judged with all the rest by `judge`. One that cannot go on has put down why,
and raises `Setback`.
"""
