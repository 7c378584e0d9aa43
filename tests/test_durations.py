"""A task is asked for when it has likely ended; how long those before took is known only roughly."""

from __future__ import annotations

import itertools

import pytest

from bridge.durations import FAST, FAST_FOR, OPEN, SLOW, Durations

KEY = ("pve1", "create", "copied")


def asked(durations: Durations, seconds: float, task: str) -> list[float]:
    """When a task of so many seconds is asked for."""
    times = [durations.pause(KEY, 0.0)]
    while times[-1] < seconds:
        durations.runs(task, times[-1])
        times.append(times[-1] + durations.pause(KEY, times[-1]))
    durations.ended(KEY, task, times[-1])
    return times


def test_without_a_past_it_is_asked_each_second_and_after_a_minute_each_five() -> None:
    times = asked(Durations(), 80.0, "first")
    assert times[:3] == [1.0, 2.0, 3.0]
    assert {round(b - a, 3) for a, b in itertools.pairwise(times)} == {FAST, SLOW}


@pytest.mark.parametrize("seconds", [0.3, 1.02, 2.5, 7.3, 31.9, 90.2])
def test_those_like_it_are_seen_soon_after_their_end_with_hardly_more_questions(seconds: float) -> None:
    durations = Durations()
    first = asked(durations, seconds, "first")
    for i in range(12):
        last = asked(durations, seconds, f"task {i}")
    assert last[-1] - seconds <= (0.4 if seconds < FAST_FOR else SLOW)
    assert len(last) <= len(first) + 3


def test_one_that_takes_longer_than_those_before_is_asked_as_often_as_any() -> None:
    durations = Durations()
    for i in range(5):
        asked(durations, 2.0, f"task {i}")
    times = asked(durations, 30.0, "long")
    assert len(times) <= 34
    assert times[-1] - 30.0 <= FAST


def test_each_step_of_each_server_has_a_past_of_its_own() -> None:
    durations = Durations()
    for i in range(5):
        asked(durations, 3.3, f"task {i}")
    assert durations.pause(("pve2", "create", "copied"), 3.0) == FAST


def test_tasks_whose_end_another_worker_saw_are_not_remembered_for_ever() -> None:
    durations = Durations()
    for i in range(3 * OPEN):
        durations.runs(f"task {i}", 1.0)
    assert len(durations._ran) <= OPEN
