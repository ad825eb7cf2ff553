"""The marks of staged rows: one bit for each rule that a row breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from validation.rules.contract import Rule

BITS = 60  # marks in one BIGINT


def marks_sql(rules: Sequence[Rule]) -> list[str]:
    """The marks of layer 4: bit i of `broken_<i // BITS>` is set where the ith rule is broken."""
    words = []
    for start in range(0, len(rules), BITS):
        bits = " | ".join(
            f"CASE WHEN {rule.mask} THEN {1 << bit}::BIGINT ELSE 0::BIGINT END"
            for bit, rule in enumerate(rules[start : start + BITS])
            if rule.mask
        )
        words.append(f"{bits or '0::BIGINT'} AS broken_{start // BITS}")
    return words


def any_mark(rules: Sequence[Rule], chosen: Callable[[Rule], bool]) -> str:
    """SQL over a staged row: it breaks one of the rules that `chosen` picks."""
    tests = []
    for start in range(0, len(rules), BITS):
        bits = sum(1 << bit for bit, rule in enumerate(rules[start : start + BITS]) if chosen(rule))
        tests.append(f"broken_{start // BITS} & {bits} <> 0")
    return f"({' OR '.join(tests)})"
