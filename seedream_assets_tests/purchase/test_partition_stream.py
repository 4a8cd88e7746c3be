"""Claims about several partitions in one run: one engine and one budget, and each partition is reported for itself."""

from dataclasses import replace

import pytest

from seedream_assets.config.dataset import Budget, Partitions
from seedream_assets.errors import AuthenticationFailed
from seedream_assets.ledger.store import read_events
from seedream_assets.prompts.stage import PromptReader, write_snapshot
from seedream_assets.purchase.stage import buy_partitions, load_report
from seedream_assets.quality.assemble import assemble_dataset
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets_tests.purchase.counted_store import declare
from seedream_assets_tests.purchase.desk import CREDITS


class Cut:
    """A dataset in partitions by colour, planned."""

    def __init__(self, folder, desk, rows, **changes):
        declared = declare(folder, [], desk.store, desk.emulator)
        (folder / "prompts.csv").write_text("prompt,colour\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
        cut = {"partitions": Partitions(by="column", column="colour"), **changes}
        self.config = declared.config.changed(**cut)
        self.deployment = declared.deployment
        self.colours = list(dict.fromkeys(row.rsplit(",", 1)[1] for row in rows))
        self.reported = {}

    def plan(self):
        reader = PromptReader(self.config, self.deployment)
        for colour in self.colours:
            snapshot = reader.read(colour)
            write_snapshot(self.deployment.store, self.config, colour, snapshot)
            keep_plan(
                self.deployment.store,
                self.config,
                colour,
                plan_partition(self.config, colour, snapshot, self.deployment),
            )
        return self

    def buy(self, *more):
        def keep(colour, report, endings):
            outcome = assemble_dataset(self.config, colour, self.deployment, fresh=endings)
            self.reported[colour] = (report, outcome)

        return buy_partitions(self.config, [*self.colours, *more], self.deployment, on_partition=keep)


@pytest.fixture
def cut(desk, tmp_path):
    return lambda rows, **changes: Cut(tmp_path / "cut", desk, rows, **changes).plan()


ROWS = [f"{colour} {number},{colour}" for colour in ("red", "green", "blue") for number in range(5)]


def test_partitions_are_one_run_and_each_has_its_own_report(cut, desk):
    dataset = cut(ROWS)
    bought = dataset.buy()
    assert bought.report.requests == {"completed": 15}
    assert list(dataset.reported) and set(dataset.reported) == {"red", "green", "blue"}
    for colour, (report, outcome) in dataset.reported.items():
        assert (report.requests, report.images_stored, report.credits_booked) == ({"completed": 5}, 5, 5 * CREDITS)
        assert report.run_id == bought.report.run_id
        assert outcome.is_final and outcome.counts["stored"] == 5
        assert load_report(desk.store, dataset.config, colour) == report
    # One engine: the account is read once.
    assert desk.bill["requests"]["me"] == 1


def test_a_request_stands_in_the_ledger_under_the_partition_that_it_was_bought_for(cut, desk):
    cut(ROWS).buy()
    intents = [info.key for info in desk.store.list("requests/") if info.key.endswith("intent.json")]
    bought_for = {(event.prompt.split()[0], event.partition) for event in read_events(desk.store, intents)}
    assert bought_for == {("red", "red"), ("green", "green"), ("blue", "blue")}


def test_a_finished_partition_is_reported_while_the_others_go_on(start_desk, tmp_path):
    desk = start_desk(latency_seconds=0.3)
    dataset = Cut(tmp_path / "cut", desk, [f"{colour},{colour}" for colour in "abcdefgh"]).plan()
    dataset.deployment = replace(dataset.deployment, engine=dataset.deployment.engine.changed(slots=1, queue_ahead=0))
    stored = {}
    reported = dataset.reported

    class Watched(dict):
        def __setitem__(self, colour, value):
            stored[colour] = desk.bill["images"]
            reported[colour] = value

    dataset.reported = Watched()
    dataset.buy()
    assert set(stored) == set("abcdefgh")
    assert min(stored.values()) < 8


def test_what_two_partitions_want_is_bought_once_and_reported_in_both(cut, desk):
    dataset = cut(["a cat,red", "a dog,red", "a cat,blue"])
    assert dataset.buy().report.requests == {"completed": 2}
    assert desk.bill["credits"] == 2 * CREDITS
    red, blue = dataset.reported["red"], dataset.reported["blue"]
    assert (red[0].credits_booked, blue[0].credits_booked) == (2 * CREDITS, 0)
    assert blue[0].requests == {"owned": 1}
    assert blue[1].is_final and blue[1].counts["stored"] == 1


def test_the_budget_of_a_run_is_for_all_of_its_partitions(cut, desk):
    dataset = cut(ROWS, budget=Budget(max_credits_per_run=8 * CREDITS))
    bought = dataset.buy()
    assert desk.bill["credits"] == 8 * CREDITS == bought.report.credits_booked
    assert {colour: outcome.is_final for colour, (_report, outcome) in dataset.reported.items()} == {
        "red": True,
        "green": False,
        "blue": False,
    }
    report, outcome = dataset.reported["blue"]
    assert (report.stopped, outcome.counts["over_budget"], report.requests) == ("over_budget", 5, {"not_sent": 5})
    assert sum(report.credits_booked for report, _ in dataset.reported.values()) == 8 * CREDITS


def test_owned_partitions_are_reported_and_the_paid_api_is_not_asked(cut, desk):
    dataset = cut(ROWS)
    dataset.buy()
    asked = desk.bill["requests"]
    dataset.reported.clear()
    assert dataset.buy().report.requests == {}
    assert set(dataset.reported) == {"red", "green", "blue"}
    assert desk.bill["requests"] == asked


def test_a_partition_that_was_not_planned_stops_no_other(cut):
    dataset = cut(ROWS[:5])
    bought = dataset.buy("grey")
    assert "was not planned yet" in str(bought.unplanned["grey"])
    assert set(dataset.reported) == {"red"}


def test_a_refused_key_begins_nothing_and_says_which_partitions_wait(cut, desk):
    dataset = cut(ROWS)
    desk.fault("me", "error_before", status=401, message="Authentication hook unauthorized")
    bought = dataset.buy()
    assert isinstance(bought.error, AuthenticationFailed)
    assert (bought.not_begun, dataset.reported) == (("red", "green", "blue"), {})


def test_what_is_refused_is_counted_where_it_belongs(cut):
    dataset = cut(["a cat,red", "emulate-failed,green", "emulate-blocked,blue"])
    dataset.buy()
    assert {colour: report.requests for colour, (report, _) in dataset.reported.items()} == {
        "red": {"completed": 1},
        "green": {"blocked": 1},
        "blue": {"blocked": 1},
    }
    assert all(outcome.is_final for _, outcome in dataset.reported.values())


def test_what_more_of_a_shared_prompt_one_partition_wants_comes_with_the_next_run(cut, desk, tmp_path):
    dataset = cut(["a cat,red", "a cat,blue"])
    (tmp_path / "cut" / "prompts.csv").write_text("prompt,colour,quantity\na cat,red,1\na cat,blue,3\n")
    dataset.plan().buy()
    assert desk.bill["images"] == 1
    assert dataset.reported["red"][1].is_final and not dataset.reported["blue"][1].is_final
    dataset.plan().buy()
    assert desk.bill["images"] == 3
    assert dataset.reported["blue"][1].is_final
