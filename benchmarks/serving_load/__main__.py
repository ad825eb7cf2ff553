"""The service under load, beside an empty BentoML endpoint in the same run: `python -m benchmarks.serving_load`.

A shop is simulated, and the product's own functions validate it, fit a bundle and promote it; both services run with
one worker each, in processes of their own, and a load generator in another. So on two cores there is one for the
service and one for what asks it, and processor time per answer is what a noisy machine disturbs least. Numbers of
clients take turns between the two services within a run; figures are medians over the runs.
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import in_turns
from benchmarks.serving_load import figures
from benchmarks.serving_load.servers import Server, started
from benchmarks.serving_load.shop import ServedShop, open_shop

FIGURES = ("levels", "tail", "overload", "memory", "start", "beside")


def main(arguments: list[str] | None = None) -> None:
    """Measure what was chosen, and print one table."""
    parser = options.command(__doc__)
    parser.add_argument("--items", type=int, default=400, help="of the simulated shop (default: 400)")
    parser.add_argument("--users", type=int, default=1500, help="of the simulated shop (default: 1500)")
    parser.add_argument("--epochs", type=int, default=3, help="of the sequence model, at most (default: 3)")
    parser.add_argument(
        "--writer", choices=("small", "language_model"), help="of reviews, for `beside`: fitted for a minute"
    )
    parser.add_argument("--keep", type=Path, help="keep the fitted shop here, and use it again (default: temporary)")
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128, 256])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load (default: 4)")
    parser.add_argument("--overload-seconds", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=20_000, help="over which memory is watched")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="of the service that is measured (default: 1)")
    chosen = parser.parse_args(arguments)
    with (
        open_shop(chosen.users, chosen.items, chosen.epochs, chosen.keep, chosen.writer) as shop,
        tempfile.TemporaryDirectory() as name,
        _own(shop, Path(name), chosen.workers) as own,
        _empty(shop, Path(name)) as empty,
    ):
        print(f"{len(shop.items)} items, {len(shop.users)} users who ask, k=10")
        rows: list[figures.Row] = []
        levels, of_empty = figures.Levels(), figures.Levels()
        saturation = 0.0
        if {"levels", "tail", "overload"} & set(chosen.figures):
            for clients in chosen.clients:
                in_turns(
                    {
                        "own": partial(_measure, levels, own, clients, chosen.seconds),
                        "empty": partial(_measure, of_empty, empty, clients, chosen.seconds),
                    },
                    chosen.runs,
                )
            rows += figures.level_rows(levels, of_empty)
            saturation = levels.saturation
        if "tail" in chosen.figures:
            rows += figures.tail_rows(own, levels, empty, of_empty, chosen.seconds)
        if "overload" in chosen.figures:
            rows += figures.overload_rows(own, saturation, chosen.overload_seconds)
        if "beside" in chosen.figures:
            texts = own.at("/v1/feedback", shop.review_bodies()) if chosen.writer else None
            rows += figures.beside_rows(own, texts, own.at("/v1/events", shop.event_bodies()), chosen.seconds)
        if "memory" in chosen.figures:
            rows += figures.memory_rows(own, chosen.requests)
        if "start" in chosen.figures:
            rows += figures.start_rows(own)
    print_table(["", "sommelier", "empty", "ratio", "bar", ""], [row.cells() for row in rows])
    print(f"missed: {', '.join(figures.missed(rows)) or 'none'}")


def _measure(levels: figures.Levels, server: Server, clients: int, seconds: float, _: int) -> None:
    levels.measure(server, clients, seconds)


def _own(shop: ServedShop, folder: Path, workers: int) -> AbstractContextManager[Server]:
    variables = shop.variables(**({} if workers == 1 else {"workers": workers}))
    return started(["serving"], variables, folder / "own.log", "/v1/recommend", shop.recommend_bodies())


def _empty(shop: ServedShop, folder: Path) -> AbstractContextManager[Server]:
    command = ["bentoml", "serve", "benchmarks.serving_load.empty:Empty"]
    variables = {"BENTOML_HOME": str(folder / "bentoml")}
    return started(command, variables, folder / "empty.log", "/recommend", shop.recommend_bodies())


if __name__ == "__main__":
    main()
