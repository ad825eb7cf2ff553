"""Data as shops have them, made small: a flat order file, a review dump, a clickstream, a database.

`python -m tests.own_data [FOLDER]` writes the files of all examples into a folder, the current one by default.
"""

from __future__ import annotations

import csv
import random
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.settings.loading import load_settings
from core.settings.tree import Settings
from validation.profile.profiling import profile_source
from validation.profile.settings import settings_text, write_settings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
COLOURS, THINGS = ("WHITE", "RED", "BLUE", "GREEN"), ("MUG", "LANTERN", "BAG", "CLOCK", "FRAME")


def write_rows(path: Path, rows: Iterable[Sequence[Any]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """Rows as delimited text, the header first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def write_orders(path: Path, n_rows: int = 2000) -> Path:
    """Order lines of a wholesaler: each customer has a favourite thing, and a quarter of the orders no customer."""
    chance = random.Random(1)
    items = [
        (f"{20000 + n}{'G' if n % 7 == 0 else ''}", f"{COLOURS[n % 4]} {THINGS[n % 5]} {n}", 0.5 + n % 40)
        for n in range(120)
    ]
    users = [(12000 + n, "United Kingdom" if n % 10 else ("France", "Germany")[n // 10 % 2]) for n in range(90)]
    rows: list[list[Any]] = []
    moment, order = datetime(2010, 12, 1, 8, 26), 536365  # noqa: DTZ001
    while len(rows) < n_rows:
        moment, order = moment + timedelta(minutes=chance.randint(1, 1100)), order + 1
        user, country = users[chance.randrange(90)]
        guest, cancelled = chance.random() < 0.25, chance.random() < 0.03
        for line in range(chance.randint(1, 9)):
            item = min(chance.randrange(120), chance.randrange(120))
            code, title, price = items[item - item % 5 + user % 5 if line % 4 else item]
            rows.append(
                [
                    f"{'C' if cancelled else ''}{order}",
                    code,
                    title,
                    -1 if cancelled else chance.randint(1, 12),
                    f"{moment.month}/{moment.day}/{moment.year} {moment.hour}:{moment.minute:02d}",
                    price,
                    "" if guest else user,
                    country,
                ]
            )
    header = "InvoiceNo StockCode Description Quantity InvoiceDate UnitPrice CustomerID Country".split()  # noqa: SIM905
    return write_rows(path, [header, *rows[:n_rows]])


def write_film_reviews(path: Path, n_rows: int = 2000) -> Path:
    """Half-star reviews of films, half of them without words, with a data frame's row numbers before them."""
    chance = random.Random(2)
    header = ["", "userName", "userId", "title", "score", "review", "creationDate", "isVerified"]
    words = ("I liked", "A fine film, and", "Not for me, but", "We laughed at", "Too long, though")
    rows: list[list[Any]] = []
    for n in range(n_rows):
        user, film = chance.randrange(300), min(chance.randrange(80), chance.randrange(80))
        day = datetime(2021, 1, 1) + timedelta(days=n * 600 // n_rows)  # noqa: DTZ001
        text = f"{words[n % 5]} what happens in part {n % 17} of it." if chance.random() < 0.5 else ""
        rows.append(
            [n, f"Viewer {user % 250}", f"u-{user:04d}", f"The Film of {THINGS[film % 5].title()} {film}",
             chance.randint(1, 10) / 2, text, f"{day:%b %d, %Y}", False]
        )  # fmt: skip
    return write_rows(path, [header, *rows])


def write_clicks(path: Path, n_rows: int = 2000) -> Path:
    """A clickstream of visitors: views, carts and transactions, in milliseconds since 1970, apart by semicolons."""
    chance = random.Random(3)
    rows: list[list[Any]] = []
    for n in range(n_rows):
        visitor, item = chance.randrange(150), min(chance.randrange(90), chance.randrange(90))
        event = chance.choices(("view", "addtocart", "transaction"), (90, 6, 4))[0]
        order = 9000 + n if event == "transaction" else ""
        rows.append([1433221332117 + n * 1_800_000, visitor, event, 4000 + item, order])
    return write_rows(path, [["timestamp", "visitorid", "event", "itemid", "transactionid"], *rows], delimiter=";")


def write_database(path: Path, n_orders: int = 600) -> Path:
    """A shop's database: customers, products, orders, and the lines of the orders."""
    chance = random.Random(4)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, country TEXT, signup_date TEXT);
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id),
                                 ordered_at TEXT, status TEXT);
            CREATE TABLE order_lines (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders (id),
                                      product_id INTEGER REFERENCES products (id), quantity INTEGER);""")
        for n in range(100):
            row = (n + 1, f"c{n}@example.org", ("DE", "FR", "IT")[n % 3], f"2023-{1 + n % 12:02d}-01")
            connection.execute("INSERT INTO customers VALUES (?, ?, ?, ?)", row)
        for n in range(60):
            product = (n + 1, f"{COLOURS[n % 4].title()} {THINGS[n % 5].lower()}", THINGS[n % 5].title(), 4.5 + n % 20)
            connection.execute("INSERT INTO products VALUES (?, ?, ?, ?)", product)
        for n in range(n_orders):
            moment = datetime(2024, 1, 1) + timedelta(hours=9 * n)  # noqa: DTZ001
            order = (n + 1, chance.randint(1, 100), str(moment), "paid")
            connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", order)
            for _ in range(3):
                line = (n + 1, min(chance.randint(1, 60), chance.randint(1, 60)), chance.randint(1, 3))
                connection.execute("INSERT INTO order_lines (order_id, product_id, quantity) VALUES (?, ?, ?)", line)
    return path


@dataclass(frozen=True)
class Example:
    """One of the examples of docs/your-data.md: its heading, its data's file, and what makes it."""

    heading: str
    file: str
    make: Callable[[Path], Path]

    def settings(self, folder: Path) -> Settings:
        """Make the data in a folder, profile them, and read the settings that were written; paths are absolute."""
        data = self.make(folder / self.file)
        written = folder / f"{data.stem}.toml"
        with chdir(folder):
            write_settings(settings_text(profile_source(data.absolute()), data.stem), written)
        return load_settings(written)


EXAMPLES = (
    Example("A flat order file", "orders.csv", write_orders),
    Example("A review dump", "reviews.csv", write_film_reviews),
    Example("A clickstream", "clicks.csv", write_clicks),
    Example("A database", "shop.db", write_database),
)


def main(arguments: Sequence[str]) -> None:
    """Write the data of each example into a folder, and say where."""
    folder = Path(*arguments[:1])
    folder.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        (folder / example.file).unlink(missing_ok=True)
        sys.stdout.write(f"{example.make(folder / example.file)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
