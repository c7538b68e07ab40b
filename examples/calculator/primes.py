"""Prime factors by trial division: it needs no memory, is always right, and may take hours, in steps.

A generator, so that whoever runs it may look up between two steps. Knows nothing of agents.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["factors"]

# Some milliseconds of work: who looks up that often notices nothing late, and is hardly slowed down.
DIVISORS_PER_STEP = 20_000


def factors(number: int) -> Iterator[int | None]:
    """The prime factors of a number from 2 on, smallest first; None again and again in between, after each step."""
    if number < 2:
        raise ValueError(f"{number} has no prime factors; give a number from 2 on")
    for divisor in (2, 3):
        while number % divisor == 0:
            yield divisor
            number //= divisor
    divisor, left = 5, DIVISORS_PER_STEP
    while divisor * divisor <= number:
        # All primes but 2 and 3 are one less or one more than a multiple of six.
        for candidate in (divisor, divisor + 2):
            while number % candidate == 0:
                yield candidate
                number //= candidate
        divisor += 6
        left -= 1
        if not left:
            left = DIVISORS_PER_STEP
            yield None
    if number > 1:
        yield number
