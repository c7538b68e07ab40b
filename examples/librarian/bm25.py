"""Full-text scoring of weighted documents: BM25 with words of one idea taken together. Pure.

Knows terms and numbers; what the documents are is the caller's affair. All that does not depend on the query is worked
out beforehand, so that a query is one addition for each document and word in it.

A query is a list of *concepts*, a word and the words of the same idea. Of the words of a concept the best one counts in
a document, never their sum, and the match says which concepts the document speaks of.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from .words import alternatives

__all__ = ["Bm25", "Matches"]

# k1 of BM25; 1.2 to 2 is usual (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009).
_SATURATION = 2.0


@attrs.frozen
class Matches:
    """The documents that speak of at least one term of a query.

    Numbers and no objects: a common word has thousands of documents, and as many objects would set off a full garbage
    collection every few questions (60 ms with an index of this size).

    Attributes:
        scores: document to how well it fits, comparable within one query.
        spoken: document to the terms that it speaks of, a bit for each.
        coverage: `spoken` to the share of the query that this is, each term by its rarity; 0 to 1.
    """

    terms: tuple[str, ...]
    scores: dict[int, float]
    spoken: dict[int, int]
    coverage: dict[int, float]

    def missing(self, number: int) -> tuple[str, ...]:
        """The terms of the query that a document does not speak of."""
        return tuple(t for place, t in enumerate(self.terms) if not self.spoken[number] >> place & 1)


class Bm25:
    """Documents, each a bag of terms with weights, ready to be asked.

    Args:
        documents: term to weight; a weight is a count times the importance of the place where it was counted.
        length_share: how far a document's length counts against it, 0 to 1 (b of BM25).
    """

    def __init__(self, documents: Sequence[Mapping[str, float]], *, length_share: float) -> None:
        count = len(documents)
        frequency = Counter(term for document in documents for term in document)
        self._rarity = {t: math.log(1 + (count - n + 0.5) / (n + 0.5)) for t, n in frequency.items()}
        self._rarity_of_unknown = math.log(1 + (count + 0.5) / 0.5)
        # All postings lie in two long arrays, term after term: one for each term would be 35,000 objects.
        self._begins: dict[str, int] = {}
        end = 0
        for term, n in frequency.items():
            self._begins[term], end = end, end + n
        self._numbers, self._values = array("L", [0]) * end, array("f", [0.0]) * end
        self._ends = dict(self._begins)
        lengths = [sum(document.values()) for document in documents]
        mean = sum(lengths) / max(count, 1) or 1.0
        for number, (document, length) in enumerate(zip(documents, lengths, strict=True)):
            norm = _SATURATION * (1 - length_share + length_share * length / mean)
            for term, weight in document.items():
                place = self._ends[term]
                self._numbers[place] = number
                self._values[place] = self._rarity[term] * weight * (_SATURATION + 1) / (weight + norm)
                self._ends[term] = place + 1

    def match(self, terms: Sequence[str]) -> Matches:
        """The documents that speak of at least one of these terms, by their number."""
        wanted = tuple(dict.fromkeys(terms))
        rarity = [self._rarity.get(term, self._rarity_of_unknown) for term in wanted]
        scores: dict[int, float] = {}
        spoken: dict[int, int] = {}
        for place, term in enumerate(wanted):
            bit = 1 << place
            for number, value in self._concept(term).items():
                scores[number] = scores.get(number, 0.0) + value
                spoken[number] = spoken.get(number, 0) | bit
        coverage = {
            bits: sum(r for place, r in enumerate(rarity) if bits >> place & 1) / sum(rarity)
            for bits in set(spoken.values())
        }
        return Matches(wanted, scores, spoken, coverage)

    def _concept(self, term: str) -> dict[int, float]:
        best = dict(self._postings(term))
        for other, share in alternatives(term).items():
            for number, value in self._postings(other):
                if value * share > best.get(number, 0.0):
                    best[number] = value * share
        return best

    def _postings(self, term: str) -> Iterator[tuple[int, float]]:
        begin, end = self._begins.get(term, 0), self._ends.get(term, 0)
        return zip(self._numbers[begin:end], self._values[begin:end], strict=True)
