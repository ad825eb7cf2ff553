"""Settings drafted from the tables that were found: each with its evidence, and a question where it is unsafe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution

from core.languages import language_of
from core.schema import TABLES
from core.settings.models import LANGUAGE_MODEL_PACKAGE, LanguageModelWriterSettings
from core.settings.validation import ValidationSettings
from validation.profile.draft import Draft
from validation.profile.extracts.counts import overlap
from validation.profile.extracts.files import Extract
from validation.profile.roles.sheet import Sheet
from validation.profile.roles.tables import Assignment, Table
from validation.profile.values.column import Column, id_like
from validation.profile.values.dates import Reading
from validation.profile.values.events import read_events
from validation.profile.values.numbers import read_money, read_scale
from validation.profile.values.words import Role, name_rank

SOURCE, VALIDATION, WRITER = "recipe.source", "recipe.validation", "recipe.writer"
CLEANING = "recipe.validation.cleaning"
_MANY_UNKNOWN_WORDS = 0.01
_VIEW_NAMES = ("view", "click", "play", "listen", "stream", "visit", "session", "browse", "clickstream", "pageview")


def draft_tables(draft: Draft, found: Assignment) -> None:
    """Everything that the files decide, for a source of kind tables."""
    draft_files(draft, found)
    if found.log.extract.has_header:
        draft_columns(draft, found)
        draft_forms(draft, found)


def draft_forms(draft: Draft, found: Assignment) -> None:
    """Times, events, ratings and prices: the same settings for every kind of source."""
    draft_times(draft, found)
    draft_events(draft, found)
    draft_ratings(draft, found)
    draft_prices(draft, found)


def draft_writer(draft: Draft, found: Assignment) -> None:
    """What learns to write from the reviews: where they are English, the pretrained model, which has read that alone.

    Source: the tables under "Feedback text" in `benchmarks/README.md`.
    """
    feedback = found.tables.get("feedback")
    if feedback is None:
        return
    texts = next(one for one in feedback.sheet.columns if one.name == feedback.columns["text"]).samples
    better = "A pretrained language model writes text that people can read; small, taught by the reviews alone, phrases"
    if not _are_english(texts):
        draft.suggest(WRITER, "kind", "language_model", f"{better}. The one that comes along knows English alone:")
        return
    try:
        distribution(LANGUAGE_MODEL_PACKAGE)
    except PackageNotFoundError:
        why = f"{better}. It needs {LANGUAGE_MODEL_PACKAGE}, which is not installed:"
        draft.suggest(WRITER, "kind", "language_model", why)
    else:
        why = (
            f"{better}. It trains for {LanguageModelWriterSettings().minutes:g} minutes, twice in a run; small for one"
        )
        draft.set(WRITER, "kind", "language_model", why)


def _are_english(texts: Iterable[str]) -> bool:
    """Whether most of those texts are English whose language can be told."""
    known = [language for text in texts if (language := language_of(text)) is not None]
    return known.count("english") > len(known) / 2


def draft_files(draft: Draft, found: Assignment) -> None:
    """Which file is which table; encoding and delimiter, which are the same for all of them."""
    extracts = {table.sheet.extract.name: table.sheet.extract for table in found.tables.values()}
    for table in found.tables.values():
        name = table.sheet.extract.name
        if name.split(".")[0] != table.name:
            draft.set(f"{SOURCE}.files", table.name, name, table.why)
    if found.rivals:
        names = [found.log.extract.name, *found.rivals]
        text = f"{len(names)} files have the same columns, and one file gives a table: put them together, or name one."
        draft.ask(f"{SOURCE}.files", text, [("interactions", name) for name in names])
        draft.lines[f"{SOURCE}.files"] = [
            line for line in draft.lines[f"{SOURCE}.files"] if line.is_open or line.value != names[0]
        ]
    for extract in extracts.values():
        if extract.problem:
            draft.ask(SOURCE, f"{extract.name}: {extract.problem}.", [])
    texts = [extract for extract in extracts.values() if extract.kind in ("delimited", "json")]
    wide = any(one.encoding.startswith("utf-16") for one in texts)
    telling = [one for one in texts if wide or not one.is_ascii]
    _draft_common(draft, "encoding", {one.name: one.encoding for one in telling}, "utf-8", telling)
    csvs = [one for one in texts if one.kind == "delimited" and ".tsv" not in one.name.lower()]
    _draft_common(draft, "delimiter", {one.name: one.delimiter for one in csvs}, ",", csvs)


def _draft_common(draft: Draft, key: str, values: dict[str, str], default: str, extracts: list[Extract]) -> None:
    """One setting for all files: files that differ have to be converted."""
    different = set(values.values())
    if len(different) > 1:
        listed = ", ".join(f"{name}: {value}" for name, value in values.items())
        draft.ask(SOURCE, f"The files differ in their {key} ({listed}); convert them to one.", [])
    elif different and (value := different.pop()) != default:
        evidence = next((why for one in extracts for why in one.evidence), "")
        if key == "delimiter":
            evidence = next((one.evidence[-1] for one in extracts if one.evidence), "")
        draft.set(SOURCE, key, value, evidence)


def draft_columns(draft: Draft, found: Assignment) -> None:
    """The mapping of each table, and questions for what interactions need."""
    described = set[str]()
    for table in found.tables.values():
        section = f"{SOURCE}.columns.{table.name}"
        is_shared = table.name != "interactions" and table.sheet is found.log
        own_contract = {column.name for column in TABLES[table.name].columns}
        is_mapped = is_shared or any(name != own for name, own in table.columns.items() if name in own_contract)
        questions = _questions(table, found)
        for name, own in table.columns.items():
            if name in questions:
                continue
            if name != own or is_shared or (is_mapped and name not in own_contract):
                why = "" if own in described else _describe_column(table.sheet, own)
                described.add(own)
                draft.set(section, name, own, why)
        for name, (text, choices) in questions.items():
            draft.ask(section, text, [(name, choice) for choice in choices])
        if table.name == "interactions":
            _refuse_misnamed(draft, table)


def _questions(table: Table, found: Assignment) -> dict[str, tuple[str, list[str]]]:
    """Contract column to what has to be asked about it."""
    asked: dict[str, tuple[str, list[str]]] = {}
    sheet = table.sheet
    if table.name in ("users", "items"):
        return asked
    ids: tuple[tuple[Role, str], ...] = (("user", "user_id"), ("item", "item_id"))
    for role, name in ids:
        if role not in sheet.picks:
            choices = [column.name for column in id_like(sheet.columns) if column.name not in sheet.used]
            text = f"No column of {sheet.extract.name} is known to name the {role}s: which one does?"
            if other := _named_elsewhere(found, role):
                text, choices = other, []
            asked[name] = (text, choices)
    tied: tuple[tuple[Role, str], ...] = (*ids, ("time", "timestamp"))
    for role, name in tied:
        if ties := sheet.ties.get(role):
            names = [sheet.picks[role].name, *(column.name for column in ties)]
            what = "time" if role == "time" else role
            asked[name] = (f"{len(names)} columns may be the {what}: {', '.join(names)}. Which one is it?", names)
    return asked


def _named_elsewhere(found: Assignment, role: Role) -> str:
    """Order lines in one file and their users in another: readers do not join files."""
    log = found.log
    for sheet in found.others:
        own = next((column for column in sheet.columns if name_rank(role, column.name) >= 2), None)
        for column in log.columns:
            if own is None or column.name == own.name or column.name not in [one.name for one in sheet.columns]:
                continue
            common, n_log, _ = overlap(log.workspace, (log.extract, column.name), (sheet.extract, column.name))
            if common > 0.5 * n_log:
                return (
                    f"{log.extract.name} does not name the {role}s, {sheet.extract.name} does ({own.name}), by "
                    f"{column.name}: put the two together first, or load both into a SQLite file, which is joined."
                )
    return ""


def _refuse_misnamed(draft: Draft, table: Table) -> None:
    """A column with a contract's name that holds something else would be misread."""
    for column in table.sheet.columns:
        if column.name in ("value", "event", "position") and column.name not in table.columns.values():
            if column.name in table.columns or column.n_given == 0:
                continue
            seen = ", ".join(column.samples[:3])
            text = (
                f"Column {column.name} ({seen}) would be read as the contract's {column.name}, but holds something "
                "else: rename it."
            )
            draft.ask(f"{SOURCE}.columns.interactions", text, [])


def _describe_column(sheet: Sheet, own: str) -> str:
    """Counts of a column and three values; no values of texts, names and addresses."""
    column = next(column for column in sheet.columns if column.name == own)
    missing = "" if column.share_given == 1 else f"; {_share(1 - column.share_given)} of the rows have none"
    head = f"{column.n_distinct:,} different values"
    if (
        column.mean_chars > 60
        or own == sheet.name("text")
        or (own == sheet.name("user") and any(set(" @") & set(one) for one in column.samples))
    ):
        return f"{head} of {column.mean_chars:.0f} characters on average{missing}"
    shown = " | ".join(list(dict.fromkeys(value[:40] for value in column.samples))[:3])
    return f"{head} such as {shown}{missing}"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def draft_times(draft: Draft, found: Assignment) -> None:
    """Forms of dates over all columns of times; a question where there is no time, or day and month are open."""
    formats: list[str] = []
    evidence: list[str] = []
    names_zone = True
    asked: Reading | None = None
    for _, column, reading in time_columns(found):
        formats += [form for form in reading.formats if form not in formats]
        evidence += [f"{column.name}: {'; '.join(reading.evidence)}"] if reading.formats else []
        names_zone = names_zone and reading.names_zone
        asked = asked or (reading if reading.choices else None)
    if asked is not None:
        choices = [("date_formats", [*asked.formats]), *(("date_formats", [*other]) for other in asked.choices)]
        text = f"Is the day or the month first? {'; '.join(asked.evidence)}."
        draft.ask(SOURCE, text, choices)
    elif formats:
        draft.set(SOURCE, "date_formats", formats, ". ".join(evidence))
    if "time" not in found.log.picks:
        text = (
            "No column of the interactions reads as a time. If the file is in order of time, that order can "
            "be taken for it."
        )
        draft.ask(SOURCE, text, [("no_time", "file_order")])
    elif not names_zone:
        draft.suggest(
            SOURCE, "time_zone", "Europe/Berlin", "The times name no zone and are taken as UTC. If they are of a zone:"
        )


def time_columns(found: Assignment) -> Iterator[tuple[Table, Column, Reading]]:
    """Each column of times that a table uses, with how it reads."""
    for table in found.tables.values():
        if table.name == "feedback" and table.sheet is found.log:
            continue
        for name in ("timestamp", "signup_at", "created_at"):
            if own := table.columns.get(name):
                column = next(column for column in table.sheet.columns if column.name == own)
                yield table, column, table.sheet.reading(column)


def draft_events(draft: Draft, found: Assignment) -> None:
    """The shop's words for events; what an event is where none is named."""
    column = found.log.picks.get("event")
    if column is None:
        _draft_default_event(draft, found)
        return
    words = read_events(column)
    section = f"{SOURCE}.values.interactions.event"
    total = max(1, sum(words.counts.values()))
    by_lower = {word.lower(): n for word, n in words.counts.items()}
    for own, event in words.mapped.items():
        draft.set(section, own, event, f"{by_lower.get(own, 0):,} rows")
    for word, n in words.other.items():
        draft.set(section, word.lower(), "", f"{n:,} rows; no event of the contract, so they are left out")
    if sum(words.unknown.values()) > _MANY_UNKNOWN_WORDS * total:
        listed = ", ".join(f"{word} ({n:,})" for word, n in words.unknown.items())
        text = (
            f"Which of view, click, cart, purchase, rating, impression is meant by {listed}? Write each word; one "
            'that is mapped to "" is left out.'
        )
        draft.ask(section, text, [(word.lower(), "view") for word in words.unknown], every=True)
    elif words.unknown:
        draft.notes.append(
            f"words of events that are not known: {', '.join(words.unknown)}; those rows go to quarantine"
        )


def _draft_default_event(draft: Draft, found: Assignment) -> None:
    """Orders are purchases; a log named after views has views."""
    stem = found.log.extract.name.split(".")[0].lower()
    words = {word.removesuffix("s") for word in re.split(r"[\W_\d]+", stem)}
    if "value" in found.log.picks or "order" in found.log.picks or "quantity" in found.log.picks:
        return
    if "text" in found.log.picks:
        return
    if words & set(_VIEW_NAMES):
        draft.set(SOURCE, "default_event", "view", f"{found.log.extract.name} is named so, and no column names events")
    else:
        draft.notes.append("no column names events: each row counts as a purchase (default_event)")


def draft_ratings(draft: Draft, found: Assignment) -> None:
    """The scale of ratings, words for them, and zeros that may mean no rating."""
    places = [
        (table, "value" if table.name == "interactions" else "rating")
        for table in found.tables.values()
        if table.columns.get("value" if table.name == "interactions" else "rating")
    ]
    for number, (table, name) in enumerate(places):
        column = next(one for one in table.sheet.columns if one.name == table.columns[name])
        scale = read_scale(column)
        if scale is None:
            continue
        section = f"{SOURCE}.values.{table.name}.{name}"
        for word, mark in scale.words.items():
            draft.set(section, word.lower(), mark)
        for code in scale.codes:
            n = dict(column.common)[code]
            draft.set(section, code, "", f"{n:,} rows; beside {scale.evidence} it stands for no rating")
        if number:
            continue
        if scale.ends:
            draft.set(CLEANING, "rating_scale", list(scale.ends), f"{column.name}: {scale.evidence}; mapped to 1 and 5")
        if scale.zeros:
            text = f"{scale.zeros:.0%} of the ratings in {column.name} are 0: no rating (empty), or the lowest (0)?"
            draft.ask(section, text, [("0", ""), ("0", "0")])
        if scale.unread and not scale.words:
            listed = ", ".join(f"{value} ({n:,})" for value, n in scale.unread[:5])
            draft.suggest(
                section, scale.unread[0][0].lower(), "5", f"Not a number, and left empty: {listed}. If it is a rating:"
            )


def draft_prices(draft: Draft, found: Assignment) -> None:
    """The decimal mark of prices."""
    items = found.tables.get("items")
    if items is None or "price" not in items.columns:
        return
    column = next(one for one in items.sheet.columns if one.name == items.columns["price"])
    money = read_money(column.samples)
    if money.decimal_comma:
        draft.set(CLEANING, "decimal_comma", True, f"{column.name}: {money.evidence}")
    elif money.is_open:
        text = (
            f"{column.name}: {money.evidence}. Is the point a decimal point (false), or does it part thousands (true)?"
        )
        draft.ask(CLEANING, text, [("decimal_comma", False), ("decimal_comma", True)])
    elif money.evidence:
        draft.notes.append(f"{column.name}: {money.evidence}")


def draft_quarantine(draft: Draft, bad_share: float, why: str) -> None:
    """A limit that lets the flow go on where it is known that many rows cannot be used."""
    limit = ValidationSettings().max_quarantined_share
    if bad_share > 0.75 * limit:
        wanted = min(0.95, math.ceil((bad_share + 0.05) * 20) / 20)
        draft.set(VALIDATION, "max_quarantined_share", round(wanted, 2), f"{why}; the flow would stop at {limit:.0%}")
