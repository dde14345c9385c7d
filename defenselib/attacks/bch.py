"""Secrets of the sample-specific attack: a short text with the check bits of a BCH code (127, t = 5) in 100 bits."""

from __future__ import annotations

import functools

from defenselib.errors import InvalidValueError

BITS = 100
CHARACTERS = 7
_FIELD = 0b10001001  # x^7 + x^3 + 1 generates GF(128)
_ORDER = 127
_ERRORS = 5


def secret_bits(text: str) -> tuple[int, ...]:
    """`text`, filled up with blanks to 56 bits, then 35 check bits and nine zeros: 100 zeros and ones.

    Raises InvalidValueError unless it is 1 to 7 ASCII characters.
    """
    if not text.isascii() or not 1 <= len(text) <= CHARACTERS:
        raise InvalidValueError(f"secret is {text!r}, it must be 1 to {CHARACTERS} ASCII characters")
    data = int.from_bytes(text.ljust(CHARACTERS).encode("ascii"), "big")
    generator = generator_polynomial()
    check_bits = generator.bit_length() - 1
    word = data << check_bits | _remainder(data << check_bits, generator)
    length = 8 * CHARACTERS + check_bits
    word <<= BITS - length
    return tuple(word >> (BITS - 1 - position) & 1 for position in range(BITS))


@functools.cache
def generator_polynomial() -> int:
    """The code's generator over GF(2), bits of its coefficients: the polynomial of least degree with the roots
    a, a^2, ..., a^10, a the generator of GF(128)."""
    exponents = {root * 2**k % _ORDER for root in range(1, 2 * _ERRORS, 2) for k in range(7)}
    coefficients = [1]  # of the product of (x + a^e), in GF(128), lowest first
    for exponent in sorted(exponents):
        root = _power(exponent)
        raised, scaled = [0, *coefficients], [_times(c, root) for c in coefficients] + [0]
        coefficients = [a ^ b for a, b in zip(raised, scaled, strict=True)]
    return sum(c << power for power, c in enumerate(coefficients))


def _power(exponent: int) -> int:
    return 1 if exponent == 0 else _times(_power(exponent - 1), 2)


def _times(a: int, b: int) -> int:
    """Product in GF(128)."""
    product = 0
    for position in range(7):
        if b >> position & 1:
            product ^= a << position
    return _remainder(product, _FIELD)


def _remainder(value: int, divisor: int) -> int:
    """Remainder of polynomials over GF(2)."""
    while value.bit_length() >= divisor.bit_length():
        value ^= divisor << (value.bit_length() - divisor.bit_length())
    return value
