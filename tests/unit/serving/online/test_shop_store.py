"""What all readers of a shop's store do together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.settings.features import FeatureSettings
from core.settings.platform import OnlineReadSettings
from core.tombstones import TombstoneFile, bury
from features.resilience import KeptRows
from serving.online.shop_store import ShopStore


def test_what_any_reader_keeps_of_who_is_forgotten_goes_when_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[Any] = []
    sweep = KeptRows.sweep

    def counting(kept: KeptRows, is_gone: Any) -> None:
        swept.append(kept)
        sweep(kept, is_gone)

    monkeypatch.setattr(KeptRows, "sweep", counting)
    file = tmp_path / "forgotten.json"
    store = ShopStore(tmp_path / "feast", OnlineReadSettings(), TombstoneFile(file))
    readers = [store.read_as(FeatureSettings(max_history=n)) for n in (3, 4)]
    for reader in readers:
        for user in ("u", "v"):
            reader._kept.keep(user, [b"row", None, None])
    store.sweep()
    assert swept == [], "nobody was ever forgotten"
    bury(file, "u")
    for _ in range(3):
        store.sweep()
    assert [reader._kept.of("u") for reader in readers] == [None, None]
    assert None not in [reader._kept.of("v") for reader in readers]
    assert len(swept) == 2, "once for each"
    file.write_text("damaged")
    store.sweep()
    file.unlink()
    bury(file, "v")
    store.sweep()
    assert [len(reader._kept) for reader in readers] == [0, 0]
