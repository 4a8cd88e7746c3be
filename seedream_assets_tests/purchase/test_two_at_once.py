"""Claims about several runs at one time: each request is bought once, and nobody takes over from the living."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from seedream_assets.config.retry import RetryPolicy
from seedream_assets.ledger.events import Completed, Intent, Writer, encode_event, event_key
from seedream_assets.ledger.store import read_event
from seedream_assets.purchase.run import run_generation
from seedream_assets.purchase.task import Predecessor, RequestTask
from seedream_assets_tests.purchase.desk import Desk, make_paid_request, make_paid_requests
from seedream_assets_tests.storage.faulty_proxy import Fault, running_faulty_proxy
from seedream_assets_tests.support.builders import make_intent


def both(desk, requests, **changes):
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda _number: desk.run(requests, **changes), range(2)))


def test_two_runs_of_one_plan_buy_each_request_once(start_desk):
    desk = start_desk(latency_seconds=0.05)
    requests = make_paid_requests(20, count=2)
    reports = both(desk, requests)
    assert desk.bill["generations"] == 20
    assert sum(report.credits_booked for report in reports) == desk.bill["credits"]
    assert desk.judge(requests).is_clean
    assert {report.stopped for report in reports} == {None}
    for report in reports:
        assert set(report.requests) <= {"completed", "owned"}


def test_two_runs_of_one_plan_on_s3_buy_each_request_once(start_desk, s3_store):
    desk = start_desk(latency_seconds=0.05)
    desk = Desk(store=s3_store, emulator=desk.emulator)
    requests = make_paid_requests(8)
    both(desk, requests)
    assert desk.judge(requests).is_clean


def test_two_runs_behind_a_network_that_loses_answers_buy_each_request_once(start_desk, bucket, s3_server):
    """A 412 can be one's own write: the object is there because the answer to writing it was lost."""
    from seedream_assets.storage.s3 import S3Store
    from seedream_assets.storage.s3_client import S3Options

    desk = start_desk(latency_seconds=0.05)
    puts = iter(range(10**9))
    with running_faulty_proxy(s3_server.endpoint_url) as proxy:
        options = S3Options(
            endpoint_url=proxy.endpoint_url,
            rounds=RetryPolicy(attempts=6, first_wait_seconds=0.01, longest_wait_seconds=0.05),
        )
        store = S3Store(bucket, options=options)
        desk = Desk(store=store, emulator=desk.emulator)
        requests = make_paid_requests(8)
        proxy.decide = lambda seen: Fault.LOSE_ANSWER if seen.method == "PUT" and next(puts) % 3 == 0 else None
        both(desk, requests)
        proxy.decide = lambda seen: None
        assert desk.judge(requests).is_clean
    assert desk.bill["generations"] == 8


def test_every_event_is_signed_anew_so_that_equal_bytes_mean_one_s_own_write(desk):
    requests = make_paid_requests(3)
    desk.run(requests)
    nonces = [read_event(desk.store, info.key).writer.nonce for info in desk.store.list("requests/")]
    assert len(set(nonces)) == len(nonces) == 9


def claim_elsewhere(desk, request, *, seconds_ago=0.0, **changes):
    """Another machine's open intent, under a lease renewed that long ago."""
    import os

    writer = Writer(engine_id="theirs", nonce="n", host="another machine", boot_id="b", pid=7)
    desk.store.replace("leases/theirs.json", b'{"lease_seconds": 1.0}', content_type="application/json")
    if seconds_ago:
        path = desk.store.uri("leases/theirs.json").removeprefix("file://")
        moment = datetime.now(UTC).timestamp() - seconds_ago
        os.utime(path, (moment, moment))
    intent = make_intent(request, writer=writer, at=datetime.now(UTC), **changes)
    assert desk.store.create(event_key(intent), encode_event(intent), content_type="application/json")


def test_nobody_takes_over_from_an_owner_whose_lease_runs(desk):
    request = make_paid_request("a cat")
    claim_elsewhere(desk, request)
    took_over = []

    def note(step, _request_id):
        took_over.append((step, datetime.now(UTC)))

    began = datetime.now(UTC)
    assert desk.run_with_witness([request], on=note).requests == {"completed": 1}
    posted = next(moment for step, moment in took_over if step == "before_post")
    # Its lease of one second, the grain of the store's clock, and the settling of the history.
    assert (posted - began).total_seconds() > 1.0 + 2.0 + 0.3
    assert desk.bill["generations"] == 2


def test_an_owner_whose_lease_has_run_out_is_taken_over(desk):
    request = make_paid_request("a cat")
    claim_elsewhere(desk, request, seconds_ago=30)
    assert desk.run_with_witness([request]).requests == {"completed": 1}
    assert desk.entry(request).attempt == 1


# Borders: requests of one spec


def counts(desk, requests):
    found = {}
    for request in requests:
        for info in desk.store.list(f"requests/{request.request_id}/"):
            event = read_event(desk.store, info.key)
            if isinstance(event, Intent):
                found[event.start] = event.count
    return found


def make_split(*counts_of, prompt="a cat"):
    starts = [sum(counts_of[:number]) for number in range(len(counts_of))]
    return [make_paid_request(prompt, start=start, count=count) for start, count in zip(starts, counts_of, strict=True)]


def test_all_requests_of_a_prompt_are_bought_where_nobody_interferes(desk):
    split = make_split(8, 8, 4)
    report = desk.run(split)
    assert report.requests == {"completed": 3}
    assert counts(desk, split) == {0: 8, 8: 8, 16: 4}


def test_a_request_after_one_that_others_have_split_differently_is_not_bought(desk):
    split = make_split(8, 2)
    planned = [RequestTask(request=request) for request in split]
    desk.run([make_paid_request("a cat", count=4)])
    report = run_generation(desk.order(planned))
    assert report.requests == {"owned": 1, "not_sent": 1}
    assert "the next run plans anew" in report.notes[split[1].request_id]
    assert desk.bill["images"] == 4


def test_a_request_after_one_that_others_have_bought_as_planned_is_bought(desk):
    split = make_split(8, 2)
    planned = [RequestTask(request=request) for request in split]
    desk.run(split[:1])
    assert run_generation(desk.order(planned)).requests == {"owned": 1, "completed": 1}
    assert desk.bill["images"] == 10


@pytest.mark.parametrize(("theirs", "outcome"), [(8, "completed"), (4, "not_sent")])
def test_a_predecessor_that_has_ended_since_the_plan_is_looked_up(desk, theirs, outcome):
    first, second = make_split(8, 2)
    desk.run([make_paid_request("a cat", count=theirs)])
    task = RequestTask(request=second, predecessor=Predecessor(request_id=first.request_id, count=8))
    assert run_generation(desk.order([task])).requests == {outcome: 1}


def test_a_request_after_one_that_no_cap_allowed_is_not_bought_either(desk):
    report = desk.run(make_split(8, 2), budget={"max_credits_per_run": 4 * 28})
    assert report.requests == {"not_sent": 2}
    assert desk.bill["generations"] == 0


@pytest.mark.parametrize("mine", [(8, 8, 4), (8, 2), (4,), (3,)])
def test_two_plans_that_split_a_prompt_differently_never_buy_a_sample_twice(start_desk, mine):
    desk = start_desk(latency_seconds=0.02)
    plans = [make_split(*mine), make_split(8, 8, 1)]
    tasks = [[RequestTask(request=request) for request in plan] for plan in plans]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda wanted: run_generation(desk.order(wanted)), tasks))
    samples = []
    for info in desk.store.list("requests/"):
        event = read_event(desk.store, info.key)
        if isinstance(event, Intent):
            samples += range(event.start, event.start + event.count)
    assert len(samples) == len(set(samples)) == desk.bill["images"]
    assert all(
        isinstance(read_event(desk.store, info.key), Completed)
        for info in desk.store.list("requests/")
        if "completed" in info.key
    )
