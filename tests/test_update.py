"""Another release of the bridge takes over in the middle of an operation: it goes on at the step of that name, or a
person decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import recipes
from bridge.model import END, State
from bridge.steps import Book, Done, Job, Outcome, Recipe, Step
from tests.branches import Branches, Killed
from tests.test_crashes import PLAYED, SCENARIOS, outcome, prepared
from tests.world import World


def nothing(job: Job) -> Outcome:
    return Done()


def later_release(recipe: Recipe, at: str, says_where: bool = True) -> Recipe:
    """What came before `at` is no step any more, `at` has another name, and there is a new step before and behind
    it."""
    place = recipe.place(at)
    now = replace(recipe.steps[place], name=f"{at}_anew")
    steps = (Step("new_before", "", nothing), now, Step("new_behind", "", nothing), *recipe.steps[place + 1 :])
    gone = [s.name for s in recipe.steps[: place + 1]]
    return Recipe(recipe.name, steps, dict.fromkeys(gone, now.name) if says_where else {})


def stopped_at(world: World, nth: int) -> str:
    """Run up to the border before the nth step of the last order; its name, empty when there are fewer."""
    seen: list[str] = []

    def border(name: str) -> None:
        if name not in seen and not name.startswith("event."):
            seen.append(name)
            if len(seen) == nth:
                raise Killed

    world.border = border
    world.start()
    try:
        world.run(4000)
    except Killed:
        world.border = lambda name: None
        return seen[-1].partition(".")[2]
    return ""


def updated(world: World, recipe: Recipe) -> None:
    """The old processes are gone; those of the other release begin."""
    world.book = Book({**recipes.BOOK.recipes, recipe.name: recipe}, recipes.BOOK.choose, recipes.BOOK.kinds)
    world.restart()


@pytest.mark.parametrize("scenario", PLAYED)
def test_an_update_at_any_step_skips_nothing_and_repeats_nothing(scenario: str, tmp_path: Path) -> None:
    world = prepared(tmp_path, scenario)
    branches, seen = Branches(world, tmp_path), [""]

    def border(name: str) -> None:
        if name not in seen and not name.startswith("event."):
            seen.append(name)
            if branches.branch(name.partition(".")[2]):
                raise Killed

    def play() -> tuple[Any, str, list[str]]:
        """How it ends; the recipe that was cut, and the steps that came after that."""
        try:
            world.run(4000)
        except Killed:
            world.border = lambda name: None
            op = world.store.current_operation(1)
            assert op
            before = [r["name"] for r in world.store.steps(op.id) if r["state"] == "done"]
            updated(world, later_release(recipes.BOOK.recipes[op.recipe], seen[-1].partition(".")[2]))
            branches.alone()
            world.run(4000)
            return outcome(world), op.recipe, [r["name"] for r in world.store.steps(op.id)][len(before) :]
        return outcome(world), "", []

    world.border = border
    world.start()
    branches.alone()
    wanted, *_ = branches.grow(play)
    assert branches.ends
    for at, (ended, recipe, logged) in branches.ends.items():
        assert ended == wanted, at
        steps = [s.name for s in recipes.BOOK.recipes[recipe].steps if not s.undo]  # those run when it ends badly
        first = [at] if logged[0] == at else []  # it had begun, and goes on under its new name
        assert logged == [*first, f"{at}_anew", "new_behind", *steps[steps.index(at) + 1 :]], at
    world.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_step_that_a_release_does_not_know_waits_for_staff(scenario: str, tmp_path: Path) -> None:
    world = prepared(tmp_path, scenario)
    at = stopped_at(world, 1)
    op = world.store.current_operation(1)
    assert op
    calls = len(world.cluster.calls)
    updated(world, later_release(recipes.BOOK.recipes[op.recipe], at, says_where=False))
    world.run(4000)
    now = world.store.operation(op.id)
    assert (now.state, now.error_code, now.step) == (State.STAFF, "unknown_step", at)
    assert at in now.error_text
    assert now.next_action
    assert len([e for e in world.store.events() if e["event"] == "staff_notice"]) == 1
    assert len(world.cluster.calls) == calls
    world.book = recipes.BOOK  # the release that began it is back
    world.restart()
    assert world.store.retry(op.id) == ""
    world.run(4000)
    assert world.store.operation(op.id).state is State.DONE
    world.close()


def test_a_kind_that_a_release_does_not_know_is_left_alone(tmp_path: Path) -> None:
    world = prepared(tmp_path, "create")
    world.book = replace(recipes.BOOK, kinds=recipes.BOOK.kinds - {"create"})
    world.start()
    world.run(60)
    op = world.store.current_operation(1)
    assert op
    assert op.state is State.RUNNING
    assert not world.cluster.calls
    assert not op.started_at
    world.book = recipes.BOOK
    world.start()
    world.run()
    assert world.store.operation(op.id).state is State.DONE
    world.close()


@pytest.mark.parametrize(
    ("names", "moved"),
    [(("a", "a"), {}), (("a", END), {}), (("a", "b"), {"a": "b"}), (("a", "b"), {"c": "d"})],
    ids=["a name twice", "the end as a step", "a step that is there moved", "moved to nowhere"],
)
def test_a_recipe_that_cannot_be_followed_by_names_is_refused(names: tuple[str, ...], moved: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="recipe 'x'"):
        Recipe("x", tuple(Step(n, "", nothing) for n in names), moved)
