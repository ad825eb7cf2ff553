"""Texts for an audience: in parts that a killed run leaves whole, of nobody who is forgotten."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.tombstones import bury
from flows.audience.author import Author
from flows.erasure.removal import remove_person
from flows.errors import NoAudience, NothingInService, NoWriter
from flows.params import AudienceParams
from flows.promotion.model_store import promote
from flows.pruning import prune
from flows.steps import texts
from flows.write_feedback import Written, write_feedback
from recommender.bundle.manifest import read_manifest
from tests.faults.scenarios import run_flow
from tests.integration.serving_shop import SHOP, TinyShop, copy_shop

KEPT_RESULTS = PlatformSettings().kept_results
USERS = ("u03", "u01", "u02", "nobody-knows", "u04")


@pytest.fixture(scope="module")
def built(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(built: TinyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyShop]:
    """The shop, its whole bundle in a store of this test; what was written before is gone."""
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(built.layout.work_dir))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    promote(built.whole, built.layout.model_name, {"digest": read_manifest(built.whole).digest})
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(nowhere):
        yield built
    built.layout.forgotten.unlink(missing_ok=True)
    for folder in runs(built.layout):
        folder.rename(tmp_path / folder.name)
    texts._author.cache_clear()


def runs(layout: Layout) -> list[Path]:
    return sorted(layout.texts("").glob("*"))


def write(**changes: Any) -> Written:
    asked = {"shop": SHOP, "users": USERS, "users_per_part": 2, "k": 2, "max_words": 12, "kind": "review", **changes}
    written: Written = run_flow(write_feedback, AudienceParams.model_validate(asked))
    return written


def rows(folder: str | Path) -> list[dict[str, Any]]:
    parts = sorted(Path(folder).glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_each_user_has_texts_in_parts_of_some_users_and_equal_seeds_give_equal_texts(shop: TinyShop) -> None:
    written = write()
    assert (written.n_users, written.n_unknown, written.n_texts) == (4, 1, 8)
    folder = Path(written.folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "audience.parquet", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "texts.json",
    ]  # fmt: skip
    found = rows(folder)
    assert [row["user_id"] for row in found] == ["u03", "u03", "u01", "u01", "u02", "u02", "u04", "u04"]
    assert all(row["text"] and len(row["text"].split()) <= 12 and 1 <= row["rating"] <= 5 for row in found)
    assert {(row["model"], row["seed"], row["kind"]) for row in found} == {(written.model, 0, "review")}
    summary = json.loads((folder / "texts.json").read_text())
    assert (summary["n_texts"], summary["k"], summary["model"]) == (8, 2, written.model)
    again = write(refresh=True)
    assert again == written
    assert rows(folder) == found
    other = write(seed=1)
    assert other.folder != written.folder
    assert [row["text"] for row in rows(other.folder)] != [row["text"] for row in found]


def test_a_run_that_was_cut_short_goes_on_with_what_is_missing(shop: TinyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(write().folder)
    for folder in runs(shop.layout):
        folder.rename(shop.layout.root / f".{folder.name}")
    begun: list[list[str]] = []
    plain = Author.write

    def cut_short(author: Author, users: list[str], *rest: Any) -> pa.Table:
        begun.append(users)
        if len(begun) == 2:
            raise OSError("the power went out")
        return plain(author, users, *rest)

    monkeypatch.setattr(Author, "write", cut_short)
    with pytest.raises(OSError, match="power"):
        write()
    (folder,) = runs(shop.layout)
    first = folder / "part-00000.parquet"
    made_at = first.stat().st_mtime_ns
    assert not (folder / "texts.json").exists()
    written = write()
    assert begun == [["u03", "u01"], ["u02", "nobody-knows"], ["u02", "nobody-knows"], ["u04"]]
    assert first.stat().st_mtime_ns == made_at
    assert rows(written.folder) == whole
    begun.clear()
    assert write() == written  # all is there
    assert begun == []


def test_all_users_with_events_come_the_newest_first(shop: TinyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = type("Found", (), {"folder": shop.layout.clean("k")})
    monkeypatch.setattr(texts, "require_validation", lambda _: found)
    assert [row["user_id"] for row in rows(write(users=(), n_users=3, k=1).folder)] == ["u59", "u58", "u57"]
    with pytest.raises(NoAudience, match=r"segment=town=here"):
        write(users=(), segment="town=here")


def test_reasons_need_no_rating(shop: TinyShop) -> None:
    found = rows(write(kind="reason", max_words=None).folder)
    assert len(found) == 8
    assert all(row["text"].endswith(".") and row["rating"] is None for row in found)


def test_nobody_is_an_error(shop: TinyShop, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(NoAudience, match="users=0"):
        write(users=(), users_file=tmp_path / "empty.txt")


def test_who_is_forgotten_has_no_text(shop: TinyShop) -> None:
    bury(shop.layout.forgotten, "u02")
    written = write()
    assert (written.n_users, written.n_unknown) == (3, 1)
    assert "u02" not in {row["user_id"] for row in rows(written.folder)}
    audience = pq.read_table(Path(written.folder) / "audience.parquet").column("user_id").to_pylist()
    assert audience == ["u03", "u01", "nobody-knows", "u04"], "nor does their id lie there"


def test_without_a_bundle_or_a_writer_it_says_so(shop: TinyShop, tmp_path: Path, monkeypatch: Any) -> None:
    promote(shop.bare, shop.layout.model_name, {"digest": "bare"})
    with pytest.raises(NoWriter, match=r"without a writer, expected one trained on review texts"):
        write()
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "nothing"))
    with pytest.raises(NothingInService, match=rf"shop={SHOP}, expected a shop with a bundle in service"):
        write()


def test_of_many_runs_the_newest_stay(shop: TinyShop) -> None:
    for age in range(KEPT_RESULTS + 2):
        folder = shop.layout.texts(f"run{age}")
        folder.mkdir(parents=True)
        os.utime(folder, (1_000_000 - age,) * 2)
    prune(shop.layout)
    assert [folder.name for folder in runs(shop.layout)] == [f"run{age}" for age in range(KEPT_RESULTS)]


def test_no_line_of_the_log_names_a_user(shop: TinyShop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        write(refresh=True)
    assert not re.search(r"\bu0\d\b", caplog.text)


def test_forgetting_somebody_takes_their_texts_too(shop: TinyShop) -> None:
    write(users=("u05", "stranger-4711"))
    write(users=("u06",))
    mine, other = sorted(runs(shop.layout), key=lambda folder: len(rows(folder)) and rows(folder)[0]["user_id"])
    receipt = remove_person(shop.layout, FeatureStoreSettings(), "stranger-4711")
    assert receipt.removed == {"texts": 1}
    assert receipt.search is not None
    assert receipt.search.left == ()
    assert not mine.exists()
    assert (other / "audience.parquet").exists()
    # The next run settles anew whom it is for.
    written = write(users=("u05", "stranger-4711"))
    assert (written.n_users, written.n_unknown) == (1, 0)
