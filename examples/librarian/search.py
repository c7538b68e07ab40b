"""Ranks modules, and the things inside them, against a question in plain words.

Knows entries and scores; nothing of agents, of answers, or of how a question was understood. A module is judged by all
that it says of itself and of what it holds, and by the few things inside it that fit best. What other projects import
comes before what nobody uses, the standard library before installed packages, the living before the deprecated.
"""

from __future__ import annotations

import math

import attrs

from .bm25 import Bm25
from .entries import Entry
from .index import Index
from .words import terms

__all__ = ["Hit", "ModuleHit", "Search"]

# The numbers below were chosen on seventy-odd questions of everyday wording; the ranking changes little when any of
# them is moved by a third.

# What a word counts by where it stands: in the name, in the name of its holder, in the first paragraph, further down.
_NAME, _HOLDER, _SUMMARY, _REST = 2.0, 1.0, 2.0, 0.5
_REST_CHARACTERS = 1500
# A module's text also counts what it holds, at this share of its weight.
_MEMBER = 0.2
_ENTRY_LENGTH, _MODULE_LENGTH = 0.7, 0.6
# How strongly it counts that few of the question's words were met: for the module as a whole little, since the words of
# one task rarely meet in one docstring; for one function nearly in proportion.
_ENTRY_COVERAGE, _MODULE_COVERAGE = 0.8, 0.3
# What the best thing inside adds to its module's own score, and the next two.
_BEST_INSIDE = (0.5, 0.3, 0.3)
# Priors. A module imported by 63 other files stands 1.6 times as high as one that is never imported.
_UNUSED, _EACH_DOUBLING = 0.6, 0.06
_INSTALLED, _DEPRECATED = 0.5, 0.4
_KIND = {"module": 1.0, "function": 1.0, "class": 0.75, "method": 0.55, "property": 0.4, "constant": 0.0}
_MAX_INSIDE, _MAX_MODULES = 8, 10


@attrs.frozen
class Hit:
    """An entry, how well it fits (comparable within one query) and which share of the query it speaks of (0 to 1)."""

    entry: Entry
    score: float
    coverage: float


@attrs.frozen
class ModuleHit:
    """A module that fits.

    Attributes:
        entry: the module.
        missing: the terms of the query that neither it nor anything inside it speaks of.
        inside: the best hits among what it holds, best first.
    """

    entry: Entry
    score: float
    coverage: float
    missing: tuple[str, ...]
    inside: tuple[Hit, ...]


class Search:
    """The full-text side of an index. Made once; any number of threads may ask it."""

    def __init__(self, index: Index) -> None:
        self._entries = [e for e in index.entries if _is_searched(e)]
        weighted = [_weigh(e) for e in self._entries]
        together: dict[str, dict[str, float]] = {}
        for entry, weights in zip(self._entries, weighted, strict=True):
            text = together.setdefault(entry.module, {})
            share = 1.0 if entry.kind == "module" else _MEMBER * _KIND[entry.kind]
            for term, weight in weights.items():
                text[term] = text.get(term, 0.0) + weight * share
        by_name = {e.name: e for e in index.entries if e.kind == "module"}
        self._modules = [by_name[name] for name in together]
        self._module_texts = Bm25(list(together.values()), length_share=_MODULE_LENGTH)
        self._entry_texts = Bm25(weighted, length_share=_ENTRY_LENGTH)
        self._prior = [_prior(e, by_name[e.module]) for e in self._entries]

    def modules(self, query: str) -> list[ModuleHit]:
        """The modules that speak of the query or hold something that does, best first."""
        wanted = terms(query)
        inside = self._inside(wanted)
        texts = self._module_texts.match(wanted)
        found: list[ModuleHit] = []
        for number, score in texts.scores.items():
            module = self._modules[number]
            hits = inside.get(module.name, [])
            coverage = texts.coverage[texts.spoken[number]]
            score *= _prior(module, module) * coverage**_MODULE_COVERAGE
            score += sum(hit.score * share for hit, share in zip(hits, _BEST_INSIDE, strict=False))
            held = tuple(h for h in hits if h.entry is not module)
            found.append(ModuleHit(module, score, coverage, texts.missing(number), held))
        return sorted(found, key=lambda m: (-m.score, m.entry.name))[:_MAX_MODULES]

    def _inside(self, wanted: list[str]) -> dict[str, list[Hit]]:
        """The best hits of each module, best first."""
        texts = self._entry_texts.match(wanted)
        strength = {bits: coverage**_ENTRY_COVERAGE for bits, coverage in texts.coverage.items()}
        scores = {n: score * self._prior[n] * strength[texts.spoken[n]] for n, score in texts.scores.items()}
        best: dict[str, list[Hit]] = {}
        for number in sorted(scores, key=lambda n: (-scores[n], n)):
            entry = self._entries[number]
            hits = best.setdefault(entry.module, [])
            if len(hits) < _MAX_INSIDE:
                hits.append(Hit(entry, scores[number], texts.coverage[texts.spoken[number]]))
        return best


def _is_searched(entry: Entry) -> bool:
    return entry.kind != "constant" and not entry.name.rpartition(".")[2].startswith("_")


def _weigh(entry: Entry) -> dict[str, float]:
    holder, _, last = entry.name.rpartition(".")
    first, _, rest = entry.doc.partition("\n\n")
    weights: dict[str, float] = {}
    for text, weight in ((last, _NAME), (holder, _HOLDER), (first, _SUMMARY), (rest[:_REST_CHARACTERS], _REST)):
        for term in terms(text):
            weights[term] = weights.get(term, 0.0) + weight
    return weights


def _prior(entry: Entry, module: Entry) -> float:
    worth = _KIND[entry.kind] * (_UNUSED + _EACH_DOUBLING * math.log2(1 + module.uses))
    if entry.origin == "installed package":
        worth *= _INSTALLED
    return worth * _DEPRECATED if entry.deprecated else worth
