"""What is measured of a service under load, and what is allowed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from benchmarks.serving_load.client import UNSENT, Phase
from benchmarks.serving_load.servers import Seen, Server

P50_RATIO, RATE_SHARE, TAIL_RATIO, GOODPUT_SHARE = 3.0, 0.4, 5.0, 0.8
RECOVERY_S, MEMORY_SHARE, READY_S, KILLED_S = 5.0, 0.05, 15.0, 5.0
OVERLOAD = 4.0
WARM = Phase(seconds=1.0, clients=4)
# Those whose rate has a bar.
BUSY = (8, 32)


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure, what it is for the empty endpoint where that says something, and its bar."""

    name: str
    value: float
    unit: str = ""
    empty: float | None = None
    bar: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """As they are printed."""
        ratio = "" if self.empty is None else f"{self.value / self.empty:.2f}"
        met = "" if self.met is None else "met" if self.met else "MISSED"
        empty = "" if self.empty is None else _number(self.empty)
        return [f"{self.name}{f', {self.unit}' if self.unit else ''}", _number(self.value), empty, ratio, self.bar, met]


@dataclass
class Levels:
    """Closed loads of one service by their number of clients, and processor time per answer."""

    seen: dict[int, list[Seen]] = field(default_factory=dict)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)

    def measure(self, server: Server, clients: int, seconds: float) -> None:
        """One run of so many clients."""
        server.load(WARM)
        before = server.cpu_s()
        (seen,) = server.load(Phase(seconds=seconds, clients=clients))
        spent_s = server.cpu_s() - before
        self.seen.setdefault(clients, []).append(seen)
        self.cpu_ms.setdefault(clients, []).append(1000 * spent_s / max(1, int(seen.good.sum())))

    def median(self, clients: int, figure: Callable[[Seen], float]) -> float:
        """Of the runs of so many clients."""
        return statistics.median(figure(seen) for seen in self.seen[clients])

    def rate(self, clients: int) -> float:
        """Good answers a second."""
        return self.median(clients, lambda seen: seen.rate)

    def percentile_ms(self, clients: int, percent: float) -> float:
        """Of the time to a good answer."""
        return self.median(clients, lambda seen: seen.percentile_ms(percent))

    @property
    def saturation(self) -> float:
        """The most good answers a second of any number of clients."""
        return max(self.rate(clients) for clients in self.seen)


def level_rows(own: Levels, empty: Levels) -> list[Row]:
    """What the closed loads say."""
    rows = []
    for clients in own.seen:
        p50, p99 = (own.percentile_ms(clients, percent) for percent in (50, 99))
        empty_p50, empty_p99 = (empty.percentile_ms(clients, percent) for percent in (50, 99))
        refused = own.median(clients, lambda seen: float(np.mean(~seen.good)))
        cpu, empty_cpu = statistics.median(own.cpu_ms[clients]), statistics.median(empty.cpu_ms[clients])
        is_one, is_busy = clients == 1, clients in BUSY
        share = own.rate(clients) / empty.rate(clients)
        least = own.rate(1) if 1 in own.seen else 0.0
        rows += [
            Row(
                f"{clients} clients, p50", p50, "ms", empty_p50,
                f"<= {P50_RATIO:g} x empty" if is_one else "", p50 <= P50_RATIO * empty_p50 if is_one else None,
            ),
            Row(f"{clients} clients, p99", p99, "ms", empty_p99),
            Row(
                f"{clients} clients, answers a second", own.rate(clients), "", empty.rate(clients),
                f">= {RATE_SHARE:g} x empty, >= 1 client's" if is_busy else "",
                share >= RATE_SHARE and own.rate(clients) >= least if is_busy else None,
            ),
            Row(f"{clients} clients, processor time an answer", cpu, "ms", empty_cpu),
            Row(f"{clients} clients, not answered with 200", 100 * refused, "%"),
        ]  # fmt: skip
    return rows


def tail_rows(own: Server, levels: Levels, empty: Server, of_empty: Levels, seconds: float) -> list[Row]:
    """Open loads of half of what each can answer: the tail of the empty endpoint is that of the machine.

    A request that is refused, or for which no connection is free, takes for ever.
    """
    (seen,) = own.load(Phase(seconds=seconds, rate=levels.saturation / 2))
    (machine,) = empty.load(Phase(seconds=seconds, rate=of_empty.saturation / 2))
    p50, p99 = seen.percentile_of_all_ms(50), seen.percentile_of_all_ms(99)
    empty_p50, empty_p99 = machine.percentile_of_all_ms(50), machine.percentile_of_all_ms(99)
    limit = f"<= {TAIL_RATIO:g} x p50 (empty: {empty_p99 / empty_p50:.1f} x)"
    return [
        Row("at half of saturation, p50", p50, "ms", empty_p50),
        Row("at half of saturation, p99", p99, "ms", empty_p99, limit, p99 <= TAIL_RATIO * p50),
    ]


def overload_rows(server: Server, saturation: float, seconds: float) -> list[Row]:
    """Four times what it can answer, and then a load that it can answer again."""
    before, over, after = server.load(
        Phase(seconds=3.0, rate=saturation / 2),
        Phase(seconds=seconds, rate=OVERLOAD * saturation),
        Phase(seconds=2 * RECOVERY_S, rate=saturation / 2),
    )
    share = over.rate / saturation
    slow_s = TAIL_RATIO * before.percentile_ms(50) / 1000
    recovered_s = recovery(after, slow_s)
    name = f"{OVERLOAD:g} x overload"
    offered = len(over.status) / seconds
    statuses = {int(code): int((over.status == code).sum()) for code in np.unique(over.status) if code != UNSENT}
    shown = ", ".join(f"{code}: {number}" for code, number in statuses.items())
    print(f"under overload {offered:.0f} requests a second were due, {over.unsent} found no connection; {shown}")
    return [
        Row(
            f"{name}, good answers a second", over.rate, "", None,
            f">= {GOODPUT_SHARE:g} x saturation {saturation:.0f}", share >= GOODPUT_SHARE,
        ),
        Row(f"{name}, p99 of good answers", over.percentile_ms(99), "ms"),
        Row(f"recovered from {name} after", recovered_s, "s", None, f"<= {RECOVERY_S:g} s", recovered_s <= RECOVERY_S),
    ]  # fmt: skip


def recovery(after: Seen, slow_s: float) -> float:
    """When the last second ended in which more than one in a hundred requests was refused, not sent or slow, s."""
    is_bad = (after.status != 200) | (after.took > slow_s)
    ended = 0.0
    for second in range(int(np.ceil(after.phase.seconds))):
        within = (after.at >= second) & (after.at < second + 1)
        if within.any() and is_bad[within].mean() > 0.01:
            ended = second + 1.0
    return ended


def beside_rows(own: Server, texts: Server | None, events: Server, seconds: float) -> list[Row]:
    """What loads of other endpoints leave of one, and what lists leave of events."""
    lists, posts = Phase(seconds=seconds, clients=8), Phase(seconds=seconds, clients=4)
    name, taken = f"{own.path}, {lists.clients} clients", f"{events.path}, {posts.clients} clients"
    alone, alone_posts = own.load(lists)[0], events.load(posts)[0]
    rows = [
        Row(f"{name}, alone, answers a second", alone.rate),
        Row(f"{name}, alone, p50", alone.percentile_ms(50), "ms"),
        Row(f"{taken}, alone, answers a second", alone_posts.rate),
        Row(f"{taken}, alone, p50", alone_posts.percentile_ms(50), "ms"),
    ]
    for other in (events, texts):
        if other is not None:
            seen, of_other = _side_by_side((own, lists), (other, posts))
            beside = f"{name}, beside {posts.clients} of {other.path}"
            rows += [
                Row(f"{beside}, not answered with 200", 100 * float(np.mean(~seen.good)), "%"),
                Row(f"{beside}, answers a second", seen.rate),
                Row(f"{beside}, p50", seen.percentile_ms(50), "ms"),
                Row(f"{beside}, p99", seen.percentile_ms(99), "ms"),
                Row(f"and meanwhile {other.path}, answers a second", float(of_other.good.sum()) / seconds),
                Row(f"and meanwhile {other.path}, not answered with 200", 100 * float(np.mean(~of_other.good)), "%"),
            ]
    busy = Phase(seconds=seconds, clients=32)
    _, seen = _side_by_side((own, busy), (events, posts))
    beside = f"{taken}, beside {busy.clients} of {own.path}"
    return [
        *rows,
        Row(f"{beside}, answers a second", seen.rate),
        Row(f"{beside}, p50", seen.percentile_ms(50), "ms"),
        Row(f"{beside}, p99", seen.percentile_ms(99), "ms"),
    ]


def _side_by_side(*loads: tuple[Server, Phase]) -> list[Seen]:
    with ThreadPoolExecutor(len(loads)) as pool:
        return [seen for (seen,) in pool.map(lambda load: load[0].load(load[1]), loads)]


def memory_rows(server: Server, requests: int) -> list[Row]:
    """The workers' memory before and after many requests."""
    server.load(Phase(seconds=600, clients=8, requests=min(5000, requests)))
    before = server.memory_mib()
    server.load(Phase(seconds=3600, clients=8, requests=requests))
    growth = server.memory_mib() / before - 1
    limit = f"within {100 * MEMORY_SHARE:g} %"
    return [
        Row("memory of the worker", before, "MiB"),
        Row(f"memory over {requests} requests", 100 * growth, "%", None, limit, abs(growth) <= MEMORY_SHARE),
    ]


def start_rows(server: Server) -> list[Row]:
    """How soon it answers after its start, and after its worker was killed."""
    killed_s = server.kill_worker()
    return [
        Row("processor time of a worker to its first answer", server.ready_cpu_s, "s"),
        Row("start to the first answer", server.ready_s, "s", None, f"<= {READY_S:g} s", server.ready_s <= READY_S),
        Row("worker killed to the next answer", killed_s, "s", None, f"<= {KILLED_S:g} s", killed_s <= KILLED_S),
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def missed(rows: Sequence[Row]) -> list[str]:
    """The names of rows whose bars were missed."""
    return [row.name for row in rows if row.met is False]
