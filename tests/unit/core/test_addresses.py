from __future__ import annotations

import pytest

from core.addresses import expand
from core.errors import SommelierError


class StoreError(SommelierError):
    pass


def test_variables_are_replaced_and_a_dollar_alone_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_HOST", "db.shop")
    assert expand("postgresql://${A_HOST}/x?a=$b", "Cannot connect", StoreError) == "postgresql://db.shop/x?a=$b"


@pytest.mark.parametrize("name", ["A_PASSWORD", "a-password", ""])
def test_a_variable_that_is_not_set_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_HOST", "db.shop")
    monkeypatch.delenv("A_PASSWORD", raising=False)
    with pytest.raises(StoreError, match=rf"Cannot connect: \$\{{{name}\}} is not set, .*\. Set {name} in the environ"):
        expand(f"${{A_HOST}}:${{{name}}}", "Cannot connect", StoreError)
