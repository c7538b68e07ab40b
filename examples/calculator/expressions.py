"""Arithmetic without rounding: text in, a fraction out.

::

    sum     = product, {("+" | "-"), product}
    product = sign, {("*" | "/"), sign}
    sign    = ["-" | "+"], power
    power   = atom, ["^", sign]
    atom    = number | "(", sum, ")"

A power binds more closely than the sign before it, and to the right, as on paper. Knows nothing of agents.
"""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["NotUnderstood", "calculate", "shown"]

MAX_CHARACTERS = 500
# Parentheses and signs in each other; far more than a person writes, far less than Python's stack holds.
MAX_DEPTH = 40
# Of a numerator or denominator: 2^100000 takes milliseconds, 9^9^9^9 more memory than there is.
MAX_BITS = 100_000
# A longer result is no answer to read; Python itself refuses to write out more than 4,300 digits.
SHOWN_DIGITS = 1_000

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|([-+*/^()]))", re.ASCII)
SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})  # noqa: RUF001 - as people type them


class NotUnderstood(Exception):
    """The text is no arithmetic, or asks for too much; the message is for whoever wrote it."""


def calculate(text: str) -> Fraction:
    """The exact value of an expression.

    Raises:
        NotUnderstood: it is none, or its value would be too large.
        ZeroDivisionError: it divides by zero.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotUnderstood(f"That has {len(text)} characters; {MAX_CHARACTERS} are the most that I take.")
    reading = _Reading(_tokens(text.translate(SIGNS)))
    value = reading.sum()
    if reading.ahead:
        raise NotUnderstood(f"I expected the end, or an operator, before {reading.ahead[-1]!r}.")
    return value


def shown(value: Fraction) -> str:
    """How a person writes it: as a fraction, and with an exact decimal, or one that says that it goes on."""
    digits = max(len(str(part)) if _bits(part) < 4 * SHOWN_DIGITS else SHOWN_DIGITS + 1 for part in _parts(value))
    if digits > SHOWN_DIGITS:
        return f"a number with more than {SHOWN_DIGITS} digits"
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives) if rest == 1 else 12
    whole, part = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
    sign = "-" if value < 0 else ""
    decimal = f"{sign}{whole}.{part:0{places}d}" + ("" if rest == 1 else "…")
    return f"{value} = {decimal}"


def _parts(value: Fraction) -> tuple[int, int]:
    return abs(value.numerator), value.denominator


def _bits(number: int) -> int:
    return number.bit_length()


def _tokens(text: str) -> list[str]:
    tokens = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            raise NotUnderstood(f"I do not understand {text[at:end].lstrip()[:20]!r}.")
        tokens.append(match[1] or match[2])
        at = match.end()
    if not tokens:
        raise NotUnderstood("There is nothing to calculate.")
    return tokens


class _Reading:
    """What is ahead, the next one last."""

    def __init__(self, tokens: list[str]) -> None:
        self.ahead = tokens[::-1]
        self._depth = 0

    def _take(self, *wanted: str) -> str:
        return self.ahead.pop() if self.ahead and self.ahead[-1] in wanted else ""

    def sum(self) -> Fraction:
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = _bounded(value + other if sign == "+" else value - other)
        return value

    def _product(self) -> Fraction:
        value = self._sign()
        while sign := self._take("*", "/"):
            other = self._sign()
            value = _bounded(value * other if sign == "*" else value / other)
        return value

    def _sign(self) -> Fraction:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstood(f"That is nested deeper than {MAX_DEPTH} levels.")
        sign = self._take("-", "+")
        value = self._sign() if sign else self._power()
        self._depth -= 1
        return -value if sign == "-" else value

    def _power(self) -> Fraction:
        value = self._atom()
        if not self._take("^"):
            return value
        exponent = self._sign()
        if exponent.denominator != 1:
            raise NotUnderstood("A power with a broken exponent is no fraction in general; I calculate exactly.")
        if max(map(_bits, _parts(value))) * abs(exponent.numerator) > MAX_BITS and abs(value) != 1 and value != 0:
            raise NotUnderstood("That number is too large to be written down.")
        if _bits(exponent.numerator) > MAX_BITS.bit_length():  # of 0, 1 or -1: only whether it is odd matters
            exponent = Fraction(exponent.numerator % 2 + (2 if exponent > 0 else -2))
        return value**exponent.numerator

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self.sum()
            if not self._take(")"):
                raise NotUnderstood("A parenthesis is not closed.")
            return value
        if not self.ahead:
            raise NotUnderstood("Something is missing at the end.")
        token = self.ahead.pop()
        if token in "-+*/^()":
            raise NotUnderstood(f"I expected a number before {token!r}.")
        return Fraction(token)


def _bounded(value: Fraction) -> Fraction:
    if max(map(_bits, _parts(value))) > MAX_BITS:
        raise NotUnderstood("That number is too large to be written down.")
    return value
