"""The calculator's arithmetic against Python's own, and its refusals."""

import ast
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.examples.calculator.expressions import NotUnderstood, calculate, shown
from callboard.examples.calculator.primes import factors

numbers = st.one_of(st.integers(0, 99).map(str), st.decimals(0, 9, places=2).map(str))
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", " * "]), inner).map("".join),
        st.tuples(st.just("("), inner, st.just(")")).map("".join),
        st.tuples(st.just("-"), inner).map("".join),
        st.tuples(st.just("("), inner, st.sampled_from([")^2", ")^-1", ")^0", ")^2^3"])).map("".join),
    ),
    max_leaves=12,
)


def by_python(text: str) -> Fraction:
    """The same by Python's own grammar, on fractions."""

    def value(node: ast.expr) -> Fraction:
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Sub(), right):
                return value(left) - value(right)
            case ast.BinOp(left, ast.Mult(), right):
                return value(left) * value(right)
            case ast.BinOp(left, ast.Div(), right):
                return value(left) / value(right)
            case ast.BinOp(left, ast.Pow(), right):
                return Fraction(value(left) ** int(value(right)))
            case ast.UnaryOp(ast.USub(), operand):
                return -value(operand)
            case ast.Constant():
                return Fraction(ast.get_source_segment(source, node) or "")
        raise AssertionError(node)

    source = text.replace("^", "**").strip()
    return value(ast.parse(source, mode="eval").body)


@given(text=expressions)
def test_it_calculates_as_python_does_on_fractions(text: str) -> None:
    """Precedence, association and signs: red if one of them is not Python's, or a rounding creeps in."""
    try:
        expected = by_python(text)
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            calculate(text)
    else:
        assert calculate(text) == expected


@given(value=st.fractions(max_denominator=2_000))
def test_what_is_shown_is_the_value(value: Fraction) -> None:
    """The fraction itself, and a decimal that is exact, or cut off where it says that it goes on."""
    fraction, _, decimal = shown(value).partition(" = ")
    assert Fraction(fraction) == value
    if decimal.endswith("…"):
        assert 0 <= abs(value) - abs(Fraction(decimal[:-1])) < Fraction(1, 10**12)
    elif decimal:
        assert Fraction(decimal) == value


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "nothing to calculate"),
        ("2 +", "missing at the end"),
        ("(1", "not closed"),
        ("1 2", "before '2'"),
        ("* 2", "before '*'"),
        ("two", "do not understand 'two'"),
        ("9^9^9", "too large"),
        ("2^100000 * 2^100000", "too large"),
        ("2^(1/2)", "broken exponent"),
        ("(" * 60 + "1" + ")" * 60, "deeper than 40"),
        ("1" * 501, "501 characters"),
    ],
)
def test_what_it_does_not_take_it_says(text: str, says: str) -> None:
    """No traceback, and no computation without end."""
    with pytest.raises(NotUnderstood) as refused:
        calculate(text)
    assert says in str(refused.value)


def test_powers_of_one_are_no_work() -> None:
    """Whatever the exponent; and a result that nobody could read is not written out."""
    powers = ("1^(9^400)", "(-1)^(10^300+1)", "0^(9^400)")
    assert [shown(calculate(power)) for power in powers] == ["1", "-1", "0"]
    assert shown(calculate("2^40000")) == "a number with more than 1000 digits"


@given(number=st.integers(2, 10**7))
def test_factors_are_prime_and_make_up_the_number(number: int) -> None:
    """In order, each of them prime."""
    found = [factor for factor in factors(number) if factor is not None]
    assert math.prod(found) == number
    assert found == sorted(found)
    for prime in found:
        assert all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))


def test_a_long_search_comes_up_for_air() -> None:
    """Red if whoever looks between the steps has to wait for a factor."""
    search = factors(1_000_000_000_039 * 1_000_000_000_061)
    assert [next(search) for _ in range(3)] == [None, None, None]
