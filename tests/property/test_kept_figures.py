"""Whatever was shown and clicked, and wherever the log was pruned: figures are those of the log that was not pruned."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from core.logs.events import Interaction
from core.promotions import model_folder
from monitoring.online.figures import compute_figures
from tests.unit.monitoring.online.test_figures import MODEL, experiment
from tests.unit.monitoring.online.test_kept import BEGAN, NOW, SETTINGS, Shop, shown

USERS, ITEMS, DAYS = 6, 4, 4
# When, to whom, and whether by the experiment: its shares follow from the user.
LISTS = st.lists(
    st.tuples(st.integers(0, 24 * 60 * DAYS - 1), st.integers(0, USERS - 1), st.booleans()), min_size=1, max_size=30
)
# When, by whom, on what, and, where it names one, on which list; and whether it comes only once the log was pruned.
CLICKS = st.lists(
    st.tuples(
        st.integers(0, 24 * 60 * DAYS), st.integers(0, USERS - 1), st.integers(0, ITEMS - 1),
        st.none() | st.integers(0, 29), st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(lists=LISTS, clicks=CLICKS, left=st.lists(st.integers(0, DAYS), min_size=1, max_size=2))
def test_figures_are_those_of_the_log_that_was_not_pruned(
    lists: list[tuple[int, int, bool]], clicks: list[tuple[int, int, int, int | None, bool]], left: list[int]
) -> None:
    with TemporaryDirectory() as folder, patch.dict(os.environ, BENTOML_HOME=f"{folder}/bentoml"):
        model_folder(MODEL).mkdir(parents=True)
        shop = Shop(Path(folder), experiment(started_at=BEGAN.isoformat()), n_days=0)
        moments = [BEGAN + timedelta(minutes=minutes) for minutes, _, _ in lists]
        for day in range(DAYS):
            end = BEGAN + timedelta(days=day + 1)
            answers = [
                shown(number, user, moment, experiment="try" if is_ours else "")
                for number, (moment, (minutes, user, is_ours)) in enumerate(zip(moments, lists, strict=True))
                if minutes // (24 * 60) == day
            ]
            shop.write(f"{day:02}", end, *answers)
        events = [
            Interaction(f"e{number}", f"person-{user}", f"i{item}", "click", BEGAN + timedelta(minutes=minutes), None,
                        None if of is None else f"r{of}")
            for number, (minutes, user, item, of, _) in enumerate(clicks)
        ]  # fmt: skip
        shop.events.append([event for event, click in zip(events, clicks, strict=True) if not click[-1]])
        shutil.copytree(shop.log, shop.folder / "whole")
        for n_left in left:
            shop.prune(n_left)
        shop.events.append(events)
        assert shop.figures() == compute_figures(
            shop.experiment, shop.serves, shop.folder / "whole", shop.events, SETTINGS, NOW
        )
        assert not shop.figures().lost
