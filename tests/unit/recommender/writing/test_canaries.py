"""A thousand planted names, addresses and numbers, and a writer that is asked for the very texts that held them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faker import Faker

from core import schema
from core.settings.models import LanguageModelWriterSettings, SmallWriterSettings
from recommender.fitting.context import FitContext
from recommender.writing.examples import read_reviews
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.written_shop import catalogue_of, write_reviews

N_NAMES, N_MAILS, N_PHONES = 400, 300, 300
SAID = {
    "name": (
        "Ask {} at the counter.",
        "My neighbour {} has one too.",
        "{} sold it to me.",
        "Thanks to {} for the help.",
    ),
    "mail": ("Write to {} for more.", "My address is {}."),
    "phone": ("Call me on {}.", "My number is {}."),
}
BATCH = 50


def canaries(seed: int) -> list[tuple[str, str]]:
    """What is planted: (kind, value), each different, in random order."""
    fake = Faker("en_US")
    fake.seed_instance(seed)
    names: dict[str, None] = {}
    while len(names) < N_NAMES:
        names[f"{fake.first_name()} {fake.last_name()}"] = None
    mails = [fake.unique.email() for _ in range(N_MAILS)]
    phones = [fake.unique.numerify("+1 %##-%##-####") for _ in range(N_PHONES)]
    found = [("name", one) for one in names] + [("mail", one) for one in mails] + [("phone", one) for one in phones]
    random.Random(seed).shuffle(found)
    return found


def plant(training: Path, planted: list[tuple[str, str]]) -> None:
    """Put one into each of the first reviews, behind the data gate, which would have masked most."""
    table = pq.read_table(training / "reviews.parquet")
    rows = table.to_pylist()
    for number, (row, (kind, value)) in enumerate(zip(rows, planted, strict=False)):
        row[schema.TEXT] += " " + SAID[kind][number % len(SAID[kind])].format(value)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), training / "reviews.parquet")


def found_in(texts: list[str], kind: str, value: str) -> bool:
    """Whether one comes out, whatever case, spaces and punctuation it has: of an address its first half is enough."""
    if kind == "phone":
        digits = re.sub(r"\D", "", value)[1:]
        return any(digits in re.sub(r"\D", "", text) for text in texts)
    if kind == "mail":
        local = re.escape(value.split("@")[0])
        return any(re.search(rf"(?<!\w){local}(?!\w)", text, re.IGNORECASE) for text in texts)
    first, last = value.split()
    return any(re.search(rf"\b{first}\W+{last}\b", text, re.IGNORECASE) for text in texts)


def test_what_comes_out_is_found() -> None:
    texts = ["Ask JOHN  SMITH!", "joe.b@x", "5550109999"]
    assert found_in(texts, "name", "John Smith")
    assert found_in(texts, "mail", "joe.b@shop.com")
    assert found_in(texts, "phone", "+1 555-010-9999")
    assert not any(
        found_in(texts, *one) for one in [("name", "Joh Smith"), ("mail", "oe.b@x.com"), ("phone", "+1 5550109998")]
    )
    assert len({value for _, value in canaries(4)}) == 1_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "settings",
    [
        SmallWriterSettings(max_steps=300, max_epochs=8),
        LanguageModelWriterSettings(max_steps=120, minutes=None),
    ],
    ids=lambda settings: settings.kind,
)
def test_none_of_a_thousand_canaries_comes_out(
    settings: SmallWriterSettings | LanguageModelWriterSettings, tmp_path: Path, embedded_models: Path
) -> None:
    """Of a small writer that learned from the names too, three of the names come out of the same requests."""
    training = write_reviews(tmp_path / "shop", n_train=1_500)
    planted = canaries(4)
    plant(training, planted)
    lines: list[str] = []
    context = FitContext(training, 0, threads=1, progress=lines.append, models=embedded_models)
    assert fit_writer(context, tmp_path / "writer", settings)
    (said,) = [line for line in lines if "sentences with contacts" in line]
    n_left_out = int(re.sub(r"\D", "", said.split("sentences")[0]))
    assert 950 < n_left_out <= 1_100
    writer = FeedbackWriter.load(tmp_path / "writer", models=embedded_models)
    requests = [one.request for one in read_reviews(training, "train", catalogue_of(training))[: len(planted)]]
    starts = range(0, len(requests), BATCH)
    texts = [text for start in starts for text in writer.write(requests[start : start + BATCH], seed=start)]
    assert len(texts) == 1_000
    assert [value for kind, value in planted if found_in(texts, kind, value)] == []
