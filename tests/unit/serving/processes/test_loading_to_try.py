"""What is to serve waits for nothing that is loaded for an experiment, and is not loaded beside itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from serving.processes.loading import Wishes
from serving.watcher import Promoted
from tests.unit.serving.processes.slow_loads import SlowLoads


def ask(loads: SlowLoads, whose: Wishes[str], model: str) -> str | None:
    """What was loaded of a bundle that is wished; None until then."""
    ended = whose.ask(model, partial(loads.load, Promoted(model, Path("/nowhere"))))
    return None if ended is None else ended.result()


def test_experiments_are_loaded_one_after_the_other_and_begin_while_nothing_is_loaded_to_serve(
    loads: SlowLoads,
) -> None:
    serving, tried = Wishes(loads.loader, serves=True), Wishes(loads.loader, serves=False)
    assert [ask(loads, tried, model) for model in ("m:8", "m:9")] == [None, None]
    tried.end_check()
    loads.wait_until_begun("m:8")
    assert ask(loads, serving, "m:2") is None  # promoted, while the experiment is as wished as before
    serving.end_check()
    loads.wait_until_begun("m:8", "m:2")
    loads.end("m:8")
    assert [ask(loads, tried, model) for model in ("m:8", "m:9")] == ["M:8", None]
    tried.end_check()
    assert not tried.has_begun("m:9")
    loads.end("m:2")
    assert ask(loads, serving, "m:2") == "M:2"
    serving.end_check()
    assert ask(loads, tried, "m:9") is None
    loads.wait_until_begun("m:8", "m:2", "m:9")
    tried.end_check()
    tried.end_check()  # a rollback overrules it
    assert ask(loads, serving, "m:1") is None
    loads.wait_until_begun("m:8", "m:2", "m:9", "m:1")
    assert ask(loads, tried, "m:7") is None
    assert not tried.has_begun("m:7")
    assert loads.most == 2


def test_a_rollback_waits_for_no_load_of_an_experiment_nor_for_what_it_takes_back(loads: SlowLoads) -> None:
    serving, tried = Wishes(loads.loader, serves=True), Wishes(loads.loader, serves=False)
    assert ask(loads, tried, "m:9") is None
    loads.wait_until_begun("m:9")
    for begun in (["m:2"], ["m:2", "m:1"]):
        assert ask(loads, serving, begun[-1]) is None
        loads.wait_until_begun("m:9", *begun)
    assert ask(loads, serving, "m:0") is None
    assert not serving.has_begun("m:0")
    loads.end("m:9")
    assert ask(loads, serving, "m:0") is None
    assert not serving.has_begun("m:0")  # two that were taken back are still loaded
    loads.end("m:1")
    assert ask(loads, serving, "m:0") is None
    loads.wait_until_begun("m:9", "m:2", "m:1", "m:0")
    assert loads.most == 3


@pytest.mark.parametrize("when", ["wished", "stopped", "loaded"])
def test_what_is_loaded_for_an_experiment_and_promoted_meanwhile_is_not_loaded_twice(
    loads: SlowLoads, when: str
) -> None:
    serving, tried = Wishes(loads.loader, serves=True), Wishes(loads.loader, serves=False)
    assert ask(loads, tried, "m:8") is None
    tried.end_check()
    loads.wait_until_begun("m:8")
    if when == "stopped":
        tried.end_check()
    if when == "loaded":
        loads.end("m:8")
        assert ask(loads, serving, "m:8") == "M:8"
    else:
        assert ask(loads, serving, "m:8") is None
        tried.end_check()  # its end is the experiment's no more
        loads.end("m:8")
        assert ask(loads, serving, "m:8") == "M:8"
    assert (loads.begun, loads.in_vain, loads.loader.is_loading) == (["m:8"], 0, False)


def test_what_failed_for_an_experiment_may_be_loaded_to_serve(loads: SlowLoads) -> None:
    serving, tried, loads.broken = Wishes(loads.loader, serves=True), Wishes(loads.loader, serves=False), {"m:8"}
    assert ask(loads, tried, "m:8") is None
    loads.end("m:8")
    loads.broken = set()
    assert ask(loads, serving, "m:8") is None
    loads.wait_until_begun("m:8", "m:8")
    with pytest.raises(ValueError, match="m:8 is damaged"):
        ask(loads, tried, "m:8")
    loads.end("m:8")
    assert ask(loads, serving, "m:8") == "M:8"


def test_a_wish_that_is_taken_back_while_it_waits_holds_nobody_up(loads: SlowLoads) -> None:
    serving, tried = Wishes(loads.loader, serves=True), Wishes(loads.loader, serves=False)
    for model in ("m:2", "m:3", "m:4"):
        assert ask(loads, serving, model) is None
        serving.end_check()
    assert not serving.has_begun("m:4")
    serving.end_check()
    for model in ("m:2", "m:3"):
        loads.end(model)
    assert ask(loads, tried, "m:9") is None
    assert tried.has_begun("m:9")
