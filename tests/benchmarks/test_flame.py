"""The flame graph: shares, what is left out, and that it is a picture."""

from xml.etree import ElementTree

from benchmarks.flame import draw, gather

STACKS = [
    "main (a.py:1);loop (a.py:2);work (b.py:3) 6",
    "main (a.py:1);loop (a.py:9);<lambda> (b.py:4) 2",
    "sleep (c.py:1) 9",
]


def test_stacks_of_the_same_functions_stand_on_each_other() -> None:
    """Red if lines part a function, or samples are counted twice or lost."""
    root = gather(STACKS, below="loop", without="sleep")
    (loop,) = root.called.values()
    assert list(root.called) == ["loop (a.py)"]
    assert (root.samples, loop.samples) == (8, 8)
    assert {name: frame.samples for name, frame in loop.called.items()} == {"work (b.py)": 6, "<lambda> (b.py)": 2}


def test_the_picture_says_names_and_shares() -> None:
    """Red if it is no XML, or a width or a share is another function's."""
    svg = ElementTree.fromstring(draw(gather(STACKS, below="loop", without="sleep"), "T & t"))
    space = {"s": "http://www.w3.org/2000/svg"}
    titles = [group.findtext("s:title", namespaces=space) for group in svg.findall("s:g", space)]
    assert titles == ["all: 100.0 %", "loop (a.py): 100.0 %", "<lambda> (b.py): 25.0 %", "work (b.py): 75.0 %"]
    boxes = [group.find("s:rect", space) for group in svg.findall("s:g", space)]
    assert [box.get("width") for box in boxes if box is not None] == ["1199.6", "1199.6", "299.6", "899.6"]
