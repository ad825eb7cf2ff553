"""How a column writes its times: ISO 8601, numbers, or forms for strptime, and whether day or month is first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=2)
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d+)?)?(Z| UTC|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)  # fmt: skip
_JAPANESE = re.compile(r"(\d{4})年\s?(\d{1,2})月\s?(\d{1,2})日", re.ASCII)
_EPOCH = re.compile(r"\d{9,19}(\.\d+)?|\d\.\d+e\+?(09|1[0-9])", re.IGNORECASE | re.ASCII)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_LONG_MONTH = r"(?:january|february|march|april|june|july|august|september|october|november|december)"
_WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)(day|sday|nesday|rsday|urday)?(,? )", re.IGNORECASE)
# Thu Jan 11 10:00:00 +0000 2024
_YEAR_LAST = re.compile(
    rf"{_MONTH} \d{{1,2}} \d{{1,2}}:\d{{2}}:\d{{2}}( [+-]\d{{4}}| UTC| GMT)? \d{{4}}", re.IGNORECASE
)
_CLOCK = re.compile(
    r"(?P<before>[T ]|, |:|,| at | - )(?P<hour>\d{1,2}):\d{2}(?P<second>:\d{2})?(?P<fraction>[.,]\d+)?"
    r"(?P<half> ?[ap]m)?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?",
    re.IGNORECASE | re.ASCII,
)
# Digits alone, by their number.
_DIGITS = {
    8: ("%Y%m%d", "%d%m%Y", "%m%d%Y"),
    10: ("%Y%m%d%H",),
    12: ("%Y%m%d%H%M", "%d%m%Y%H%M"),
    14: ("%Y%m%d%H%M%S", "%d%m%Y%H%M%S"),
}
_DAY_FIRST, _MONTH_FIRST = "day first", "month first"


@dataclass(frozen=True)
class Reading:
    """How a column's times read.

    Attributes:
        formats: For `date_formats`, the commonest first; none for ISO 8601 and numbers.
        share: Share of the sampled values that read as a time.
        evidence: What was seen, one clause each.
        choices: Other formats in place of `formats`, where the values leave the order of day and month open.
        names_zone: Whether some value has a time zone.
    """

    formats: tuple[str, ...]
    share: float
    evidence: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    names_zone: bool = False


@dataclass
class _Family:
    """Values of one shape, and the forms that they may have."""

    forms: tuple[str, ...]
    values: list[str]
    places: list[int]


def read_times(samples: Sequence[str], now: datetime) -> Reading:
    """Find the forms of a column's times.

    Args:
        samples: Values in the order of the file.
        now: No time is later, if another reading is possible.
    """
    families: dict[tuple[str, ...], _Family] = {}
    kinds: Counter[str] = Counter()
    settled: list[tuple[int, datetime]] = []
    for place, value in enumerate(samples):
        kind, forms, moment = _look(value, now)
        kinds[kind] += 1
        if moment is not None:
            settled.append((place, moment))
        if forms:
            family = families.setdefault(forms, _Family(forms, [], []))
            family.values.append(value)
            family.places.append(place)
    chosen, evidence, open_ = [], _describe_kinds(kinds, len(samples)), []
    # The family with the clearest order first: the others may follow from where it lies.
    ordered = sorted(families.values(), key=lambda family: (len(_possible(family)) != 1, -len(family.values)))
    for family in ordered:
        form, why, others = _decide(family, settled, len(samples), now)
        if form:
            chosen.append((len(family.values), form))
            evidence.append(why)
            settled += _moments(family, form)
        open_ += [(form, other) for other in others]
    chosen.sort(key=lambda one: -one[0])
    formats = _without_may(tuple(dict.fromkeys(form for _, form in chosen)), families)
    choices = tuple(tuple(other if form == one else one for one in formats) for form, other in open_)
    zone = any(re.search(r"(Z|UTC|GMT|[+-]\d{2}:?\d{2})$", value) for value in samples if ":" in value)
    return Reading(
        formats, len(settled) / max(1, len(samples)), tuple(evidence), choices, zone or bool(kinds["number"])
    )


def _without_may(formats: tuple[str, ...], families: dict[tuple[str, ...], _Family]) -> tuple[str, ...]:
    """May is its own short form: where all other months are written out, one form reads them all."""
    kept = list(formats)
    for form in formats:
        values = [value for family in families.values() if form in family.forms for value in family.values]
        if "%b" in form and form.replace("%b", "%B") in formats and all("may" in value.lower() for value in values):
            kept.remove(form)
    return tuple(kept)


def _look(value: str, now: datetime) -> tuple[str, tuple[str, ...], datetime | None]:
    """A value's kind, its possible forms, and its moment where that is clear."""
    value = _JAPANESE.sub(lambda found: f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}", value)
    if value.isascii() and value.isdigit() and len(value) in _DIGITS:
        forms = tuple(form for form in _DIGITS[len(value)] if _plausible(_parse(value, form), now))
        if forms:
            return "digits", _DIGITS[len(value)], None
    if _EPOCH.fullmatch(value):
        moment = _epoch(value)
        return ("number", (), moment) if _plausible(moment, now) else ("other", (), None)
    if _ISO.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.replace(" UTC", "Z"))
        except ValueError:
            return "other", (), None
        return "ISO 8601", (), moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    forms = forms_of(value)
    return ("forms", forms, None) if forms else ("other", (), None)


def forms_of(value: str) -> tuple[str, ...]:
    """The strptime forms that a value may have, by its shape."""
    prefix, rest = "", value
    if day := _WEEKDAY.match(value):
        prefix = ("%A" if day[2] else "%a") + day[3]
        rest = value[day.end() :]
    if late := _YEAR_LAST.fullmatch(rest):
        zone = late[1] or ""
        return (f"{prefix}%b %d %H:%M:%S{' %z' if zone[1:2] in ('+', '-') else zone} %Y",)
    clock = next((found for found in _CLOCK.finditer(rest) if found.end() == len(rest)), None)
    date = rest[: clock.start()] if clock else rest
    return tuple(prefix + form + (_clock_form(clock) if clock else "") for form in _date_forms(date))


def _date_forms(date: str) -> tuple[str, ...]:
    if found := re.fullmatch(r"(\d{1,2})([/.\- ])(\d{1,2})\2(\d{4}|\d{2})", date, re.ASCII):
        mark, year = found[2], "%Y" if len(found[4]) == 4 else "%y"
        forms = (f"%d{mark}%m{mark}{year}", f"%m{mark}%d{mark}{year}")
        return forms if year == "%Y" else (*forms, f"%y{mark}%m{mark}%d")
    if found := re.fullmatch(r"\d{4}([/.\- ])\d{1,2}\1\d{1,2}", date, re.ASCII):
        return (f"%Y{found[1]}%m{found[1]}%d",)
    for month, form in ((_LONG_MONTH, "%B"), (_MONTH, "%b")):
        if found := re.fullmatch(rf"\d{{1,2}}([./\- ]|\. ){month}([./\- ]|, )(\d{{4}}|\d{{2}})", date, re.IGNORECASE):
            return (f"%d{found[1]}{form}{found[2]}{'%Y' if len(found[3]) == 4 else '%y'}",)
        if found := re.fullmatch(rf"{month}([./\- ])\d{{1,2}}(, |[,./\- ])(\d{{4}})", date, re.IGNORECASE):
            return (f"{form}{found[1]}%d{found[2]}%Y",)
    if found := re.fullmatch(r"(\d{2}) (\d{1,2}), (\d{4})", date, re.ASCII):
        return ("%m %d, %Y", "%d %m, %Y")
    return ()


def _clock_form(clock: re.Match[str]) -> str:
    form = clock["before"] + ("%I" if clock["half"] else "%H") + ":%M"
    form += ":%S" if clock["second"] else ""
    form += f"{clock['fraction'][0]}%f" if clock["fraction"] else ""
    if half := clock["half"]:
        form += " %p" if half.startswith(" ") else "%p"
    if zone := clock["zone"]:
        space, word = (" " if zone.startswith(" ") else ""), zone.strip()
        form += space + ("%z" if word[0] in "+-" else word)
    return form


def _decide(
    family: _Family, settled: list[tuple[int, datetime]], n: int, now: datetime
) -> tuple[str, str, tuple[str, ...]]:
    """The form of a family's values, the evidence for it, and the forms that fit as well."""
    count = len(family.values)
    possible = _possible(family)
    if not possible:
        parsed = {form: len(_moments(family, form)) for form in family.forms}
        form = max(parsed, key=lambda one: parsed[one])
        if not parsed[form]:
            return "", "", ()
        others = tuple(other for other, read in parsed.items() if other != form and read)
        why = f"{parsed[form]} of {n} sampled values read as {form}, but {count - parsed[form]} do not"
        return form, why, others if parsed[form] < 0.98 * count else ()
    head = f"{count} of {n} sampled values read as {{}}"
    if len(possible) == 1:
        form = possible[0]
        return form, head.format(form) + _count_above_12(family, form), ()
    for narrow in (_not_ahead, _within, _in_order):
        kept, why = narrow(family, possible, settled, now)
        if len(kept) == 1:
            return kept[0], f"{head.format(kept[0])}; {why}", ()
        possible = kept or possible
    why = f"{head.format(' or as '.join(possible))}: no day is above 12"
    return possible[0], why, tuple(possible[1:])


def _possible(family: _Family) -> list[str]:
    """The forms in which nearly all of the values are dates."""
    least = max(1, 0.995 * len(family.values))
    return [form for form in family.forms if len(_moments(family, form)) >= least]


def _not_ahead(
    family: _Family, possible: list[str], settled: list[tuple[int, datetime]], now: datetime
) -> tuple[list[str], str]:
    """No event lies in the future, nor before there were shops on the web."""
    bad = {form: sum(not _plausible(moment, now) for _, moment in _moments(family, form)) for form in possible}
    kept = [form for form in possible if not bad[form]]
    worst = max(bad, key=lambda form: bad[form])
    return kept, f"as {worst} {bad[worst]} of them would lie in the future or before 1990"


def _within(
    family: _Family, possible: list[str], settled: list[tuple[int, datetime]], now: datetime
) -> tuple[list[str], str]:
    """Values of an open day-month order lie within the range of the column's other values."""
    if len(settled) < 20:
        return possible, ""
    days = [moment for _, moment in settled]
    first, last = min(days) - timedelta(days=1), max(days) + timedelta(days=1)
    outside = {}
    for form in possible:
        moments = [moment for _, moment in _moments(family, form)]
        outside[form] = sum(not first <= moment <= last for moment in moments) / len(moments)
    kept = [form for form in possible if outside[form] <= 0.005]
    worst = max(outside, key=lambda form: outside[form])
    if outside[worst] < 0.03:
        return possible, ""
    return kept, f"as {worst} {outside[worst]:.0%} of them would lie outside the other values' range"


def _in_order(
    family: _Family, possible: list[str], settled: list[tuple[int, datetime]], now: datetime
) -> tuple[list[str], str]:
    """A file is often written in order of time: read rightly, far more neighbours are in order."""
    if len(family.values) < 20:
        return possible, ""
    shares = {}
    for form in possible:
        moments = [moment for _, moment in sorted([*settled, *_moments(family, form)])]
        pairs = [(one, other) for one, other in pairwise(moments) if one != other]
        up = sum(one < other for one, other in pairs)
        shares[form] = max(up, len(pairs) - up) / max(1, len(pairs))
    best = max(shares, key=lambda form: shares[form])
    if shares[best] < 0.9 or max(share for form, share in shares.items() if form != best) > shares[best] - 0.02:
        return possible, ""
    return [best], f"so {shares[best]:.0%} of the rows are in order of time"


def _count_above_12(family: _Family, form: str) -> str:
    """How many values settle the order of day and month."""
    if len(family.forms) == 1:
        return ""
    others = [other for other in family.forms if other != form]
    settling = sum(all(_parse(value, other) is None for other in others) for value in family.values)
    return f"; {settling} have a day above 12"


def _describe_kinds(kinds: Counter[str], n: int) -> list[str]:
    clauses = []
    for kind, words in (("ISO 8601", "read as ISO 8601"), ("number", "are numbers of seconds (or parts) since 1970")):
        if kinds[kind]:
            clauses.append(f"{kinds[kind]} of {n} sampled values {words}")
    return clauses


def _moments(family: _Family, form: str) -> list[tuple[int, datetime]]:
    parsed = ((place, _parse(value, form)) for place, value in zip(family.places, family.values, strict=True))
    return [(place, moment) for place, moment in parsed if moment is not None]


def _parse(value: str, form: str) -> datetime | None:
    try:
        moment = datetime.strptime(value, form)  # noqa: DTZ007
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _epoch(value: str) -> datetime | None:
    number = float(value)
    for limit, unit in ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9)):
        if number < limit:
            return datetime.fromtimestamp(number / unit, UTC)
    return None


def _plausible(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and _EARLIEST <= moment <= now + _AHEAD
