"""Laws with examples in two numbers: a few in `make test`, many in `make test-long`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings


def law(*strategies: Any, few: int, many: int, **how: Any) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Make two tests of a function that holds for any input: one of `few` examples, and a long one of `many`.

    Args:
        strategies: Of the function's arguments, in their order.
        how: Further settings of Hypothesis.
    """

    def decorate(holds: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("n_examples", [few, pytest.param(many, marks=pytest.mark.long)])
        def test(n_examples: int) -> None:
            settings(max_examples=n_examples, deadline=None, **how)(given(*strategies)(holds))()

        test.__name__, test.__doc__ = holds.__name__, holds.__doc__
        return test

    return decorate
