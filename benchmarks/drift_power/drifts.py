"""The drifts that are injected: SQL over the clean tables of a shop, and which signals name each rightly."""
# ruff: noqa: E501 (SQL of the injected drifts)

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from core.sql import literal
from monitoring.answers.staleness import STALE
from simulation.shop.log import CLOSES_AT
from simulation.shop.words import CHARACTERS

WITHIN = 14  # days, the newest ones: from their begin on a drift shows
STALE_BUNDLE = "model gone stale"
_LATE = f"timestamp >= TIMESTAMPTZ {literal((CLOSES_AT - timedelta(days=WITHIN)).isoformat())}"
_COIN = "hash(event_id) % 100"
_FRENCH = """['Je suis très content de cet achat, il est arrivé avec deux jours de retard mais tout va bien.',
    'La qualité n''est pas celle que nous avions vue sur les photos, et le prix est trop haut.',
    'Un beau cadeau pour ma sœur, elle en est ravie depuis le premier jour.']"""
_ITEM = "(SELECT item_id FROM items ORDER BY hash(item_id) LIMIT 1)"


@dataclass(frozen=True)
class Injected:
    """A drift: SQL over the clean tables, by name; and the beginnings of signals that name it rightly."""

    tables: dict[str, str]
    right: tuple[str, ...]


def _wander() -> str:
    """Of 70 % of the late events, users of one group swap items with each other: no item or group is met more or less."""
    group = "coalesce(u.age_group, '') || coalesce(u.gender, '') || coalesce(u.country, '')"
    return f"""WITH late AS (SELECT e.event_id, e.item_id, {group} AS who FROM interactions AS e LEFT JOIN users AS u USING (user_id)
            WHERE {_LATE} AND {_COIN} < 70),
        placed AS (SELECT *, row_number() OVER (PARTITION BY who ORDER BY hash(event_id)) AS place,
            row_number() OVER (PARTITION BY who ORDER BY hash(event_id, 'other')) AS other FROM late),
        swapped AS (SELECT a.event_id, b.item_id AS taken FROM placed AS a JOIN placed AS b ON a.who = b.who AND a.place = b.other)
        SELECT e.* EXCLUDE (taken) REPLACE (coalesce(taken, item_id) AS item_id)
        FROM (SELECT interactions.*, taken FROM interactions LEFT JOIN swapped USING (event_id)) AS e"""


def _flip() -> str:
    """Users of one age group look at the shelf after the one that they would have looked at."""
    return f"""WITH shelves AS (SELECT split_part(category, ' > ', 1) AS shelf, item_id,
            row_number() OVER (PARTITION BY shelf ORDER BY item_id) - 1 AS place, count(*) OVER (PARTITION BY shelf) AS n,
            dense_rank() OVER (ORDER BY shelf) AS number FROM items)
        SELECT e.* REPLACE (coalesce(other.item_id, e.item_id) AS item_id) FROM interactions AS e
        LEFT JOIN users AS u USING (user_id) LEFT JOIN shelves AS own ON own.item_id = e.item_id
        LEFT JOIN shelves AS other ON {_LATE} AND u.age_group = '25-34'
            AND other.number = own.number % (SELECT max(number) FROM shelves) + 1 AND other.place = own.place % other.n"""


DRIFTS: dict[str, Injected] = {
    "new category": Injected(
        {"items": "SELECT * REPLACE (CASE WHEN hash(item_id) % 40 = 0 THEN 'Flowers > Roses' ELSE category END AS category) FROM items"},
        ("data.items.category.new", "data.items.category_path.new"),
    ),
    "price shift": Injected({"items": "SELECT * REPLACE (price * 1.3 AS price) FROM items"}, ("data.items.price.",)),
    "vanished column": Injected(
        {"items": "SELECT * REPLACE (NULL::VARCHAR AS brand) FROM items"}, ("data.items.brand.null_share",)
    ),
    "taste flip of a segment": Injected({"interactions": _flip()}, ("data.items.", "quality.replay.")),
    STALE_BUNDLE: Injected({}, (STALE,)),
    "taste of everybody wanders": Injected({"interactions": _wander()}, (STALE, "quality.replay.")),
    "popularity shock": Injected(
        {"interactions": f"SELECT * REPLACE (CASE WHEN {_LATE} AND {_COIN} < 10 THEN {_ITEM} ELSE item_id END AS item_id) FROM interactions"},
        ("data.items.concentration",),
    ),
    "bots": Injected(
        {"interactions": f"""SELECT * FROM interactions UNION ALL SELECT * EXCLUDE (n) REPLACE (event_id || '-bot' || n AS event_id,
            user_id || '-bot' AS user_id, 'view' AS event, NULL AS value) FROM interactions, range(40) AS t(n)
            WHERE {_LATE} AND hash(user_id) % 40 = 0"""},
        ("data.interactions.floods",),
    ),
    "unit change": Injected({"items": "SELECT * REPLACE (price * 100 AS price) FROM items"}, ("data.items.price.unit",)),
    "rating inflation": Injected(
        {"interactions": f"SELECT * REPLACE (CASE WHEN {_LATE} AND {_COIN} < 60 THEN least(value + 1, 5) ELSE value END AS value) FROM interactions"},
        ("data.interactions.rating.",),
    ),
    "language change": Injected(
        {"feedback": f"""SELECT * REPLACE (CASE WHEN {_LATE} AND hash(user_id, item_id) % 100 < 60
            THEN {_FRENCH}[CAST(1 + hash(user_id, item_id) % 3 AS INTEGER)] ELSE text END AS text) FROM feedback"""},
        ("text.language.",),
    ),
}  # fmt: skip

# Characters that everybody suddenly likes best, of food and of kitchenware: a title has each, and no column has them.
_LIKED = ("floral", "fruity", "citrus", "herbal", "spicy", "copper", "porcelain")
# What becomes of parcels: a word of each place, so that hardly two reviews say five words in a row alike.
_PARCELS = (
    (
        ("The courier", "Our postman", "That driver", "A messenger", "The van", "Some neighbour"),
        ("dropped", "left", "forgot", "returned", "crushed", "rerouted"),
        ("the parcel", "our carton", "the package", "my box", "that crate", "both bags"),
        ("at the gate", "in the depot", "behind the bin", "on the stairs", "by the garage", "at the counter"),
        ("on Monday", "last week", "before noon", "after three calls", "without a note", "two days later"),
    ),
    (
        ("Tracking", "The label", "Their website", "The hotline", "An e-mail", "The app"),
        ("showed", "gave", "named", "had", "claimed", "reported"),
        ("another street", "the old address", "a wrong number", "some other town", "a locked office", "no date"),
        ("for days", "at first", "all week", "once again", "until Friday", "as always"),
    ),
    (
        ("The tape", "One corner", "The lid", "The wrapping", "A seal", "The padding"),
        ("was torn", "was damp", "was open", "was missing", "was dented", "was loose"),
        ("when it came", "on arrival", "as I signed", "under the stamp", "near the barcode", "by the time I looked"),
    ),
)


def _prefer() -> str:
    """Of 70 % of the late events each goes to an item of a character that is liked, of the leaf category that it had."""
    characters, liked = literal("|".join(CHARACTERS)), ", ".join(literal(word) for word in _LIKED)
    return f"""WITH told AS (SELECT item_id, category, regexp_extract(lower(title), {characters}) IN ({liked}) AS is_liked FROM items),
        liked AS (SELECT item_id AS taken, category, row_number() OVER (PARTITION BY category ORDER BY item_id) - 1 AS place,
            count(*) OVER (PARTITION BY category) AS n FROM told WHERE is_liked)
        SELECT e.* REPLACE (coalesce(liked.taken, e.item_id) AS item_id) FROM interactions AS e LEFT JOIN told USING (item_id)
        LEFT JOIN liked ON {_LATE} AND {_COIN} < 70 AND liked.category = told.category AND liked.place = hash(event_id, 'item') % liked.n"""


def _parcels() -> str:
    """Of 40 % of the late reviews each is about parcels, and as long as it was, or as the sentences are."""
    said = " || ' ' || ".join(
        " || ' ' || ".join(
            "[" + ", ".join(literal(word) for word in words) + f"][CAST(1 + hash(user_id, item_id, {n}{place}) % {len(words)} AS INTEGER)]"
            for place, words in enumerate(sentence)
        ) + " || '.'"
        for n, sentence in enumerate(_PARCELS, start=1)
    )  # fmt: skip
    return f"""SELECT * REPLACE (CASE WHEN {_LATE} AND hash(user_id, item_id) % 100 < 40
        THEN left({said}, length(text)) ELSE text END AS text) FROM feedback"""


# With `--embeddings` alone.
TOLD_BY_NO_COLUMN: dict[str, Injected] = {
    "taste within categories": Injected({"interactions": _prefer()}, ("embeddings.items.", "embeddings.users.")),
    "reviews of parcels": Injected({"feedback": _parcels()}, ("embeddings.texts.",)),
}
