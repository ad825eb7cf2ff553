"""Every store that rows of a shop were ever written to: when settings change, the one before holds people too.

```
<feast>/stores.json   {"written": [{"online": "redis", "redis": "127.0.0.1:6379", ...}]}
```
A store is noted before its first row is written, and goes from the list once nothing of the shop is left in it. Whoever
looks for a person, or erases them, goes through the list.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.addresses import expand, hide_values
from core.settings.features import FeatureStoreSettings
from core.sql import identifier
from core.storage import remove_folder, sync_folder, write_json
from features.archive.publication import OFFLINE_FOLDER, read_published, schema_name
from features.errors import FeastFailure, FeatureError
from features.feast.store import ONLINE_FILE, open_online

logger = logging.getLogger(__name__)

STORES_FILE = "stores.json"
_FAILED = "Cannot reach a store that holds rows of the shop"
_TIMEOUT_S = 30


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    written: tuple[FeatureStoreSettings, ...] = ()


def written_stores(feast_folder: Path) -> list[FeatureStoreSettings]:
    """What is published first, then what was written to before, or is being written to.

    Raises:
        FeatureError: the list is there and cannot be read.
    """
    published = read_published(feast_folder)
    found = [] if published is None else [published.stores]
    found += _read(feast_folder)
    if (feast_folder / ONLINE_FILE).exists() or (feast_folder / OFFLINE_FOLDER).exists():
        found.append(FeatureStoreSettings())  # files show it, also those of a release that kept no list
    return list(dict.fromkeys(found))


def ask_online(feast_folder: Path, ask: Callable[[Any, Any], int]) -> int:
    """The sum of what every online store among them says that is there.

    Args:
        ask: Given the store and its configuration.
    Raises:
        FeatureError: a server does not answer, or a ${NAME} of its address is not in the environment.
    """
    total = 0
    for stores in {online_place(stores): stores for stores in written_stores(feast_folder)}.values():
        if stores.online == "sqlite" and not (feast_folder / ONLINE_FILE).is_file():
            continue
        with reaching(feast_folder, stores):
            total += ask(*open_online(feast_folder, stores))
    return total


def online_place(stores: FeatureStoreSettings) -> str:
    """Where the online rows are: the address of a server, empty for a file of the shop's folder."""
    return stores.redis if stores.online == "redis" else ""


def databases_of(all_stores: Iterable[FeatureStoreSettings]) -> dict[str, FeatureStoreSettings]:
    """Addresses of the databases that hold a part of one of these stores, each with such a store."""
    return {stores.postgres: stores for stores in all_stores if "postgres" in (stores.offline, stores.registry)}


def note_written(feast_folder: Path, stores: FeatureStoreSettings) -> None:
    """Note a store before anything is written to it; those before stay noted, also one that an earlier release made."""
    _write(feast_folder, dict.fromkeys([*written_stores(feast_folder), stores]))


def leave_former(feast_folder: Path) -> None:
    """Remove the files of stores other than the published one, and take what is left with no rows from the list;
    nothing where nothing is published. The caller holds the lock of refreshes.

    Rows on a server stay: a copy of the work folder, on trial with other settings, would remove those of its original.
    """
    published = read_published(feast_folder)
    if published is None:
        return
    left = []
    for former in written_stores(feast_folder)[1:]:
        try:
            with reaching(feast_folder, former):
                is_left = [leave(feast_folder, former, published.stores) for leave in (_leave_online, _leave_offline)]
        except FeatureError as error:
            left.append(former)
            logger.warning("What the shop used before may still have its rows: %s", error)
        else:
            if any(is_left):
                left.append(former)
                _say_left(feast_folder, former)
    _write(feast_folder, [published.stores, *left])


def _say_left(feast_folder: Path, former: FeatureStoreSettings) -> None:
    places = " and ".join(filter(None, (online_place(former), *databases_of([former]))))
    logger.warning(
        "Features are kept elsewhere by now; rows of the shop stay at %s. Where nothing else uses them, remove what "
        "has %s in its name there, and then the store from %s",
        places,
        schema_name(feast_folder),
        feast_folder / STORES_FILE,
    )


def erase_former(feast_folder: Path, user_id: str) -> None:
    """Remove a user's rows from tables in PostgreSQL other than the published ones. The caller holds the lock.

    Raises:
        FeatureError: one cannot be reached.
    """
    published, name = read_published(feast_folder), schema_name(feast_folder)
    kept = () if published is None else databases_of([published.stores])
    for address, former in databases_of(written_stores(feast_folder)).items():
        if address in kept and published is not None and published.stores.offline == "postgres":
            continue
        with reaching(feast_folder, former), _connected(expand(address, _FAILED, FeatureError)) as connection:
            with_users = connection.execute(
                "SELECT table_name FROM information_schema.columns WHERE table_schema = %s AND column_name = 'user_id'",
                (name,),
            ).fetchall()
            for (table,) in with_users:
                connection.execute(f"DELETE FROM {identifier(name)}.{identifier(table)} WHERE user_id = %s", (user_id,))


@contextmanager
def reaching(feast_folder: Path, stores: FeatureStoreSettings) -> Iterator[None]:
    """Say in one sentence that a store which may hold people cannot be asked, and what to do."""
    try:
        yield
    except FeatureError:
        raise
    except Exception as error:
        places = ", ".join(filter(None, (online_place(stores), *databases_of([stores])))) or "files"
        words = hide_values(hide_values(f"{type(error).__name__}: {error}", stores.redis), stores.postgres)
        raise FeastFailure(
            _FAILED,
            got=f"store={places}",
            expected=f"it to answer, but {words}",
            where=str(feast_folder / STORES_FILE),
            do="See that it answers, and do this again; if it and all that it held are gone, take it out of the file",
        ) from error


def _leave_online(feast_folder: Path, former: FeatureStoreSettings, kept: FeatureStoreSettings) -> bool:
    """Whether rows stay there."""
    if online_place(former) == online_place(kept):
        return False
    if former.online == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            (feast_folder / f"{ONLINE_FILE}{suffix}").unlink(missing_ok=True)
        sync_folder(feast_folder)
        return False
    store, config = open_online(feast_folder, former)
    store.timeout_s = _TIMEOUT_S
    return kept.online != "redis" or not store.shares_keys(config, *open_online(feast_folder, kept))


def _leave_offline(feast_folder: Path, former: FeatureStoreSettings, kept: FeatureStoreSettings) -> bool:
    """Whether rows stay there; a registry has none."""
    if former.offline == "duckdb":
        if kept.offline != "duckdb":
            remove_folder(feast_folder / OFFLINE_FOLDER)
        return False
    if kept.offline != "postgres":
        return True
    places = [expand(one.postgres, _FAILED, FeatureError) for one in (former, kept)]
    return places[0] != places[1] and not _is_one_database(*places)


def _is_one_database(one: str, other: str) -> bool:
    """Whether two addresses lead to the same database: a lock that is held through one cannot be had by the other."""
    number = secrets.randbits(62)
    with _connected(one) as holding, _connected(other) as asking:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        ((is_free,),) = asking.execute("SELECT pg_try_advisory_xact_lock(%s)", (number,)).fetchall()
    return not is_free


def _connected(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, connect_timeout=_TIMEOUT_S)


def _read(feast_folder: Path) -> tuple[FeatureStoreSettings, ...]:
    path = feast_folder / STORES_FILE
    try:
        return _Written.model_validate_json(path.read_text(encoding="utf-8")).written
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise FeatureError(
            "Cannot read which stores hold rows of the shop",
            got=f"{type(error).__name__}: {error}",
            expected="JSON as a refresh writes it",
            where=str(path),
            do="Put it back from a backup; without it nobody can be forgotten in stores that were used before",
        ) from error


def _write(feast_folder: Path, stores: Iterable[FeatureStoreSettings]) -> None:
    after = _Written(written=tuple(stores))
    if after.written != _read(feast_folder):
        write_json(feast_folder / STORES_FILE, after.model_dump(mode="json"))
