"""Turns text into the terms that are indexed and looked for. Pure; knows nothing of Python modules.

A term is a word in lower case without its usual English endings, so that "copies", "copying" and "copied" meet. The
vocabulary at the end says which everyday words and which words of programmers' documentation mean the same thing. It
is about ideas: where a word is a module's name too (`email`, `time`), it stands there as the English word.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

__all__ = ["alternatives", "keywords", "kin", "stem", "terms", "words"]

# "HTMLParser2" is three words, and so is "parse_html_2"; letters beyond ASCII are letters.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+")
_STOP = frozenset(
    "a about above after again all also am an and any are as at be because been before being below but by can cannot"
    " could did do does doing done each etc every few for from further get gets getting give given gives had has have"
    " having he her here him his how i if in into is it its itself just let like may me might more most must my need"
    " needs no nor not of off on once one only or other our out own please same she should so some such than that the"
    " their them then there these they thing things this those through to too under until up us use used uses using"
    " very want was way we were what when where whether which while who whom whose why will with within without would"
    " you your yours python module modules function functions library package packages method something anything"
    " nothing everything possible possibly way ways good best easy easily simple simply whose self".split()
)


def words(text: str) -> list[str]:
    """The words of a text in lower case; identifiers are split at underscores and humps."""
    return [w.lower() for w in _WORD.findall(text.replace("e-mail", "email").replace("E-mail", "email"))]


def keywords(text: str) -> list[str]:
    """The words of a text without those that say nothing about its subject."""
    return [w for w in words(text) if w not in _STOP and len(w) > 1]


def terms(text: str) -> list[str]:
    """The keywords of a text, stemmed."""
    return [stem(w) for w in keywords(text)]


@functools.lru_cache(maxsize=65536)  # the different words of all documentation together: about 50,000
def stem(word: str) -> str:
    """A word without its plain English endings: light enough that what is left can still be recognised."""
    if len(word) < 4 or word.isdigit():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ingly", "edly", "ing", "ed", "er", "or", "ion", "ly"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= 3 and re.search("[aeiouy]", rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "ls" else rest
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


# Kept to words that a dictionary of computing would give for each other, whatever the question.
# First the lines whose words may stand for each other anywhere.
_SYNONYMS = """
folder directory dir
application program
launch start begin
delete remove unlink erase
copy duplicate clone
pick choose choice select
check test verify
compare diff
differ difference delta
frequency occurrence
join concatenate combine merge
split break separate divide
encode serialize
decode deserialize
remember cache memoize
text string str
letter character char
whole integer int
average mean
up ceiling
down floor
dictionary mapping dict
list sequence
item element
largest biggest greatest maximum max
smallest least minimum min
unique universally
identifier id
sleep wait pause delay
benchmark measure
quick fast
zip archive
unpack extract decompress
pack compress
picture image
web internet http
site page
mail email
password secret
secure cryptographic
hash digest checksum
wildcard pattern
option argument flag switch
terminal console tty
configuration config
parallel concurrent simultaneous
cancel abort
stop end exit quit
kill terminate
timeout deadline
exception error
trace traceback
temporary temp tmp
constant enumeration enum
database db
money currency monetary
country locale
"""

# Then those whose words are near each other.
_RELATED = """
file path
program command process executable
run execute spawn start
find search look locate glob
move rename
create make generate build
count number
sort order
wrap fill
convert turn transform translate change
save store write dump persist
load read parse
placeholder variable substitution template
token word
message mail
number integer float numeric
array list
table row column spreadsheet csv
comma delimiter
time clock duration second measure
speed performance profile slow
day date calendar month year week
address url
web url www html
download fetch retrieve request
link href anchor
network socket connection
computer host machine
send post
prompt ask input
hidden echo
shell wildcard glob
rule pattern
parameter argument
show display print output
config setting option
operating system platform
thread parallel
task job
share exchange
lock mutex exclusive
cancel interrupt
failure error
leak memory allocation
automatic itself
language locale internationalization
"""

_SYNONYM, _NEAR = 0.85, 0.65


@functools.cache
def _known() -> dict[str, dict[str, tuple[str, float]]]:
    """Term to the terms of the same idea, each with its full word and its share."""
    known: dict[str, dict[str, tuple[str, float]]] = {}
    for lines, share in ((_RELATED, _NEAR), (_SYNONYMS, _SYNONYM)):
        for line in lines.strip().splitlines():
            group = {stem(word): (word, share) for word in line.split()}
            for term in group:
                known.setdefault(term, {}).update((other, kin) for other, kin in group.items() if other != term)
    return known


def alternatives(term: str) -> Mapping[str, float]:
    """The other terms that the documentation may use for the idea of this one, and how much each of them counts."""
    return {other: share for other, (_, share) in _known().get(term, {}).items()}


def kin(word: str) -> list[str]:
    """The words that the documentation may use for the idea of this one."""
    return [other for other, _ in _known().get(stem(word), {}).values()]
