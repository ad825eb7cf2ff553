"""`sommelier keys`: what is revoked, and that no secret is shown or recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from core.keys import create_key, read_keys
from core.layout import Layout
from core.logs.audit import read_acts


@pytest.fixture
def shop(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, "corner")
    layout.root.mkdir(parents=True)
    return layout


def revoke(layout: Layout, key: str) -> int:
    return main(["keys", "revoke", key, "--set", f"work_dir={layout.work_dir}", "--set", f"shop={layout.shop}"])


def test_a_leaked_key_is_revoked_as_it_was_found_and_its_secret_stands_nowhere(
    shop: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    new = create_key(shop.api_keys, "a test", ["admin"])
    text = new.text.get_secret_value()
    assert revoke(shop, text) == 0
    assert read_keys(shop.api_keys).keys[0].revoked_at is not None
    (act,) = read_acts(shop.audit)
    assert (act.details, act.outcome) == ({"key": new.key.id}, "done")
    # What is not quite a key may be one with something before it.
    assert revoke(shop, f"key={text}") == 1
    shown = capsys.readouterr()
    assert "expected the id of a key" in shown.err
    for told in (shown.out, shown.err, shop.audit.read_text()):
        assert text[-64:] not in told
