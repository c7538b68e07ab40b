"""Nine programs of the Savina suite on callboard, pykka, trio and Erlang.

`programs` says what the suite's programs do, once for all contenders in Python: an actor there is a plain class with
`on_receive`, which each `on_…` module puts on its own kind of actor. `on_erlang` has its own text, `savina.erl`.
"""
