"""What is published: the one small file that names the parts of the offline store with their counts, written last.

A refresh that is killed before that has changed nothing that a reader sees offline, and is run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.addresses import expand
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.storage import digest_of, write_json
from features.archive.events import Archive, Manifest, ParquetArchive, Part, PostgresArchive
from features.errors import FeatureError, StoreNotReady

PUBLISHED_FILE = "published.json"
UNFINISHED_FILE = "unfinished.json"
OFFLINE_FOLDER = "offline"
ERASED = "erased"  # no key of any clean tables: noted as unfinished, it has the next refresh rebuild


class Published(BaseModel):
    """The state of a feature store.

    Attributes:
        version: Version of the views: `features.counting.views.VERSION`.
        key: Digest of the clean tables and the settings.
        settings: How the features are computed.
        stores: Where they are kept; ${NAME} as in the settings, not its value.
        generation: Of the offline tables; a rebuild makes a new one.
        n_parts: Parts of the offline tables that count.
        parts: Those parts, table by table, with their rows and digests. A table without news has no part of a number.
        log_sequence: Up to where the clean tables know the service's event log; 0 where unknown.
        log_born: Tells that log from another at its place; 0 where unknown.
        filling: The number that the online store has since it was filled; 0 where it keeps none.
        materialised_to: The time of the newest event online, ISO 8601 in UTC; None without events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    key: str
    settings: FeatureSettings
    stores: FeatureStoreSettings
    generation: int
    n_parts: int
    parts: tuple[Part, ...]
    log_sequence: int
    log_born: int = 0
    filling: int = 0
    materialised_to: str | None


def read_published(feast_folder: Path) -> Published | None:
    """What is published; None where nothing is, or by another version of this file."""
    try:
        return Published.model_validate_json((feast_folder / PUBLISHED_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def require_published(feast_folder: Path) -> Published:
    """What is published.

    Raises:
        StoreNotReady: nothing is.
    """
    published = read_published(feast_folder)
    if published is None:
        raise StoreNotReady(
            "Cannot read the offline features",
            got=f"{PUBLISHED_FILE}=missing",
            expected="a store that features were refreshed into",
            where=str(feast_folder),
            do="Refresh the features first: run the refresh-features or the pipeline deployment",
        )
    return published


def publish(feast_folder: Path, published: Published) -> None:
    """Make it what readers see from now on."""
    write_json(feast_folder / PUBLISHED_FILE, published.model_dump(mode="json"))


def unpublish(feast_folder: Path) -> None:
    """Nothing is published any more: readers of the offline store say so, and the next refresh rebuilds everything."""
    (feast_folder / PUBLISHED_FILE).unlink(missing_ok=True)


def note_unfinished(feast_folder: Path, key: str) -> None:
    """Note what a refresh is about to write online, before it writes the first row."""
    write_json(feast_folder / UNFINISHED_FILE, {"key": key})


def read_unfinished(feast_folder: Path) -> str | None:
    """The key of a refresh that began and did not end; None where the last one did."""
    try:
        return str(json.loads((feast_folder / UNFINISHED_FILE).read_text(encoding="utf-8"))["key"])
    except FileNotFoundError:
        return None


def note_finished(feast_folder: Path) -> None:
    """The refresh has published what it wrote."""
    (feast_folder / UNFINISHED_FILE).unlink(missing_ok=True)


def open_archive(
    feast_folder: Path, stores: FeatureStoreSettings, generation: int, parts: Iterable[Part] = ()
) -> Archive:
    """The offline tables of a generation, which need not exist yet.

    Args:
        parts: Those that are published; none of a new generation.
    """
    if stores.offline == "postgres":
        return PostgresArchive(
            expand(stores.postgres, "Cannot open the feature store", FeatureError),
            schema_name(feast_folder),
            generation,
            Manifest(parts),
        )
    return ParquetArchive(feast_folder.absolute() / OFFLINE_FOLDER / str(generation), Manifest(parts))


def open_published(feast_folder: Path, published: Published) -> Archive:
    """The offline tables as they are published."""
    return open_archive(feast_folder, published.stores, published.generation, published.parts)


def schema_name(feast_folder: Path) -> str:
    """The name that is a shop's own on servers that shops share: a schema in PostgreSQL, a prefix in Redis."""
    # However the folder is reached: `feast` in a shell sees it without links.
    return f"sommelier_{digest_of(str(feast_folder.resolve()))}"
