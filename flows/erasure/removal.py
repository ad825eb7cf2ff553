"""Removing a person: first what serving reads, at once; then, when no step of a flow is at work, all that was derived.

Each stage leaves the receipt as far as it came, and may be done again: a process that is killed anywhere is followed by
another with the same id, and the end is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from core.layout import Layout
from core.logs.events import EventLog
from core.logs.predictions import erase_predictions
from core.overrides import Overrides
from core.removals import end_waiting, keeps_waiting, withdraw_removal
from core.settings.features import FeatureStoreSettings
from core.storage import exclusively
from core.tombstones import Tombstone, Tombstones, bury, read_tombstones
from features.erasure import (
    USER_VIEWS,
    erase_offline,
    erase_online,
    find_in_server,
    find_online,
    require_rebuild,
)
from flows.erasure.contents import count_rows, kind_of, names
from flows.erasure.files import (
    blot_log,
    files_below,
    holds_person,
    is_sidecar,
    redact,
    remove,
    remove_naming,
    remove_unfinished,
    stage_folders,
)
from flows.erasure.learned import find_learned
from flows.erasure.person import Person
from flows.erasure.prefect_runs import clear_runs, count_runs, is_out_of_reach
from flows.erasure.receipts import Receipt, Search, now, open_receipt, save
from flows.errors import NotForgotten
from flows.promotion.model_store import forbid_bundles
from flows.reporting.reports import write_index
from monitoring.online.erasure import erase_exported, erase_figures, erase_kept
from validation.quarantine.readmission import erase as erase_readmitted

READ_STAGES = ("raw", "clean", "training")  # hold rows of people
_MADE_STAGES = ("components", "candidates", "baselines", "refits")  # were learned from them
_OWN = ("forgotten.json", "receipts", "data.lock", "forgotten.json.lock", "erasure.lock")


def remove_person(
    layout: Layout, stores: FeatureStoreSettings, user_id: str, show: Callable[[str], None] = lambda _: None
) -> Receipt:
    """Forget a person: a tombstone, and everything of theirs removed but what bundles learned.

    Args:
        layout: Of the shop.
        stores: Where features are kept, should nothing be published that says so.
        user_id: However it is written.
        show: Called with each line of progress; none has the id.
    Raises:
        TombstoneError: the id is none.
        FeatureError, EventLogError: a store cannot be reached; the tombstone stands, and the rest is done by a second
            call.
    """
    person = Person(user_id)
    stone = bury(layout.forgotten, user_id)
    with exclusively(layout.root / "erasure.lock"):
        receipt = open_receipt(layout, stone)
        receipt = _from_serving(layout, person, receipt)
        show("nothing of the person is served any more")
        show("waiting for steps of flows that are at work ...")
        with exclusively(layout.data_lock):
            if receipt.held_at is None:
                receipt = save(layout, receipt.model_copy(update={"held_at": time.time()}))
            receipt = _from_data(layout, stores, person, receipt)
            receipt = _from_shared(layout, person, receipt)
        # Once more: a push that had read before may have written since.
        receipt = receipt.counting("online store", erase_online(layout.feast, person.id))
        receipt = receipt.model_copy(update={"search": look(layout, person)})
        state = "retraining" if _is_clean(receipt) else "removing"
        receipt = save(layout, receipt.model_copy(update={"state": state if receipt.is_open else receipt.state}))
        if _is_clean(receipt):
            end_waiting(layout.to_forget, user_id)
        return receipt


def _is_clean(receipt: Receipt) -> bool:
    return receipt.search is not None and not receipt.search.left


def _from_serving(layout: Layout, person: Person, receipt: Receipt) -> Receipt:
    """The event log, and the online rows. The running service asks the tombstone before it writes either again."""
    log = EventLog(layout.events)
    logged = log.times_of(person.is_value)
    is_seen = receipt.seen or bool(logged or find_online(layout.feast, person.id))
    # Before the first of them goes: after a kill some are gone that the receipt has to know of.
    receipt = save(layout, receipt.model_copy(update={"seen": is_seen}).dating(*logged))
    times = log.erase(person.is_value)
    log.close()
    receipt = save(layout, receipt.counting("event log", len(times)).dating(*times))
    shown = erase_predictions(layout.predictions, person.is_value)
    kept = erase_kept(layout.predictions, person.is_value)
    erase_figures(layout.predictions)
    receipt = receipt.counting("prediction log", shown).counting("answers kept", kept)
    receipt = save(layout, receipt.counting("exports", erase_exported(layout.predictions, person.is_value)))
    said = Overrides(layout.overrides).erase_users(person.is_value)
    receipt = save(layout, receipt.counting("overrides", said))
    return save(layout, receipt.counting("online store", erase_online(layout.feast, person.id)))


def _from_data(layout: Layout, stores: FeatureStoreSettings, person: Person, receipt: Receipt) -> Receipt:
    """Everything below the shop's folder; nobody reads or writes its data meanwhile."""
    stages = [layout.root / stage for stage in (*READ_STAGES, *_MADE_STAGES)]
    others = (
        layout.texts(""),
        layout.reports,
        layout.readmitted,
        layout.feast,
        layout.searches.parent,
        layout.monitoring,
        layout.gx,
    )
    remove_unfinished(*stages, *others)
    if receipt.seen:  # by serving, which had them counted in the rows of items
        require_rebuild(layout.feast)
    receipt = save(layout, receipt.counting("readmitted rows", erase_readmitted(layout.readmitted, person.is_value)))
    receipt = save(layout, receipt.dating(*_clean_times(layout, person)))
    rows, times = erase_offline(layout.feast, stores, person.id)
    receipt = receipt.dating(*times)
    for table, count in rows.items():
        receipt = receipt.counting(f"offline {table}", count)
    receipt = save(layout, receipt)
    if receipt.bundles is None:
        receipt = find_learned(layout, person, read_tombstones(layout.forgotten), receipt)
    # None of them goes into service any more, from wherever it lies: then the receipt has all that are in the store.
    forbid_bundles(layout.model_name, {one.digest for one in receipt.bundles or ()})
    receipt = save(layout, receipt)
    for stage in READ_STAGES:
        gone = _remove_stage(layout, stage, person)
        receipt = save(layout, receipt.counting(stage, gone))
    if receipt.seen:
        # What was learned with them, and counts of them in which no id stands; of searches each trial's figures, query
        # by query.
        for stage in ("training", *_MADE_STAGES):
            gone = _remove_older(_made(layout, stage), receipt)
            receipt = save(layout, receipt.counting(stage, gone))
        # So were texts for audiences by what learned from them. To both files are added over time.
        texts = stage_folders(layout, "texts")
        receipt = save(layout, receipt.counting("texts", _remove_older(texts, receipt, by=min)))
        figures = [path for path in layout.searches.parent.glob("*") if path.is_dir()]
        receipt = receipt.counting("searches", _remove_older(figures, receipt, by=min))
    # Whole folders, also of who was but named; behind that, as it makes nobody seen by what learns.
    receipt = receipt.counting("texts", remove_naming(stage_folders(layout, "texts"), person))
    return save(layout, _from_pages(layout, person, receipt))


def _remove_stage(layout: Layout, stage: str, person: Person) -> int:
    folders = stage_folders(layout, stage)
    if stage != "raw":
        return remove_naming(folders, person)
    tombstones = read_tombstones(layout.forgotten)
    gone = [folder for folder in folders if holds_person(folder, person, tombstones)]
    for folder in gone:
        remove(folder)
    return len(gone)


def _made(layout: Layout, stage: str) -> list[Path]:
    """The results of a stage; components lie one folder deeper."""
    if stage != "components":
        return stage_folders(layout, stage)
    return [made for name in stage_folders(layout, stage) for made in stage_folders(layout, f"{stage}/{name.name}")]


def _remove_older(folders: list[Path], receipt: Receipt, by: Callable[..., float] = max) -> int:
    """Remove the results that were there when no step was at work for the first time; later ones know nobody.

    Args:
        by: Which of a folder's files says how old it is: the newest, or the oldest of one that files are added to.
    """
    gone = [
        folder
        for folder in folders
        if by((file.stat().st_mtime for file in files_below(folder)), default=0.0) <= (receipt.held_at or 0.0)
    ]
    for folder in gone:
        remove(folder)
    return len(gone)


def _clean_times(layout: Layout, person: Person) -> list[datetime]:
    """When the person did something, as the clean tables that are there have it."""
    import pyarrow.parquet as pq

    times: list[datetime] = []
    for folder in stage_folders(layout, "clean"):
        for table in ("interactions", "feedback"):
            own = [("user_id", "=", person.id)]
            file = folder / f"{table}.parquet"
            if file.is_file():
                times += pq.read_table(file, columns=["timestamp"], filters=own).column("timestamp").to_pylist()
    return times


def _from_pages(layout: Layout, person: Person, receipt: Receipt) -> Receipt:
    """Reports, monitoring, and every other file of the shop: derived ones are removed, records lose the id."""
    reports = [path for path in layout.reports.glob("*") if path.is_dir()]
    if gone := remove_naming(reports, person):
        write_index(layout)
        receipt = receipt.counting("reports", gone)
    own = (*_OWN, *READ_STAGES, *_MADE_STAGES, layout.feast.name, layout.sealed_events.name)
    aside = {layout.root / name for name in own}
    for place in sorted(set(layout.root.iterdir()) - aside):
        if keeps_waiting(place, layout.to_forget):
            continue  # until the person is removed
        for file in files_below(place):
            if is_sidecar(file) or file == layout.events:
                continue
            is_record = file.parent == layout.root or kind_of(file) == "sqlite"
            if is_record:
                receipt = receipt.counting(_place(layout, file), redact(file, person))
            elif names(file, person):
                remove(file)
                receipt = receipt.counting(_place(layout, file), 1)
    return receipt


def _from_shared(layout: Layout, person: Person, receipt: Receipt) -> Receipt:
    """What the shops of a work folder share: the runs of the Prefect server, Prefect's results and database, logs, the
    steps of runs.
    """
    receipt = receipt.counting("Prefect runs", clear_runs(layout.shop, person))
    work = layout.root.parent
    for file in files_below(work / "prefect"):
        if is_sidecar(file):
            continue
        if file.is_relative_to(work / "prefect" / "results"):
            if names(file, person):
                remove(file)
                receipt = receipt.counting("Prefect results", 1)
        else:
            receipt = receipt.counting("Prefect database", redact(file, person))
    receipt = save(layout, receipt)
    for file in files_below(work / "logs", work / "steps"):
        receipt = receipt.counting("logs", blot_log(file, person))
    return save(layout, receipt)


def look(layout: Layout, person: Person) -> Search:
    """Look through every file, table and store of the shop for the person."""
    work = layout.root.parent
    found: list[str] = []
    n_files = n_tables = 0
    for file in files_below(*(layout.root, *(work / name for name in ("prefect", "bentoml", "logs", "steps")))):
        if _is_other_shop(file, work, layout) or keeps_waiting(file, layout.to_forget):
            continue
        n_files += 1
        try:
            if kind_of(file) == "sqlite":
                n_tables += sum(1 for _ in count_rows(file, person))
            if names(file, person):
                found.append(str(file.relative_to(work)))
        except FileNotFoundError:
            continue  # a running part has removed it since
    in_server = find_in_server(layout.feast, person.id, person.is_distinct)
    found += [f"{table}: {count} rows" for table, count in in_server.items() if count]
    if is_out_of_reach(work / "prefect"):
        found.append("Prefect server: it does not answer")
    if runs := count_runs(layout.shop, person):
        found.append(f"Prefect server: parameters of {runs} runs")
    if online := find_online(layout.feast, person.id):
        found.append(f"online store: {online} rows")
    return Search(at=now(), files=n_files, tables=n_tables + len(in_server), keys=len(USER_VIEWS), left=tuple(found))


def preview(layout: Layout, user_id: str) -> Receipt:
    """What forgetting a person would find, without changing anything; `search.left` says where their data are."""
    person = Person(user_id)
    found = look(layout, person)
    once = Tombstones(salt="preview")
    stone = Tombstone(person=once.hash_of(user_id), at=now(), receipt=0)
    times = EventLog(layout.events).times_of(person.is_value) + _clean_times(layout, person)
    receipt = Receipt(number=0, person=stone.person, at=stone.at, seen=bool(found.left), search=found).dating(*times)
    return find_learned(layout, person, once.model_copy(update={"forgotten": (stone,)}), receipt)


def take_back(layout: Layout, user_id: str) -> Receipt:
    """Lift a tombstone: what comes of the person from now on is taken in like anybody's.

    Raises:
        NotForgotten: there is none.
    """
    with exclusively(layout.root / "erasure.lock"):
        stone = withdraw_removal(layout.to_forget, layout.forgotten, user_id)
        if stone is None:
            raise NotForgotten(
                "Cannot lift",
                got=f"shop={layout.shop}",
                expected="somebody who is forgotten",
                where=str(layout.forgotten),
                do="Look at the receipts: sommelier forget --list",
            )
        return save(layout, open_receipt(layout, stone).model_copy(update={"state": "lifted", "finished_at": now()}))


def _is_other_shop(file: Path, work: Path, layout: Layout) -> bool:
    """Whether a bundle is of another shop of the work folder, whose users these are not."""
    models = work / "bentoml" / "models"
    return file.is_relative_to(models) and file.relative_to(models).parts[0] != layout.model_name


def _place(layout: Layout, file: Path) -> str:
    return file.relative_to(layout.root).parts[0]
