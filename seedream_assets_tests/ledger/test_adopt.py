"""Claims about adoptions by hand that were a mistake: undone whole, wherever somebody dies, and nothing bought twice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from seedream_assets.budget.dataset_budget import book_again
from seedream_assets.budget.log import read_budget
from seedream_assets.errors import AnotherAccount
from seedream_assets.images.embed import SOURCE_ENTRY
from seedream_assets.ledger.account import ACCOUNT_KEY
from seedream_assets.ledger.adopt import adopt_generation, end_deleted, retract_adoption
from seedream_assets.ledger.by_hand import NotByHand, release_request, show_request
from seedream_assets.ledger.events import Retracted, Submitted, encode_event, event_key
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import final_key, read_event
from seedream_assets_tests.purchase.desk import CREDITS, DATASET, make_paid_request, make_paid_requests
from seedream_assets_tests.purchase.living_dataset import LivingDataset


@pytest.fixture
def two(desk):
    """Two requests whose answers were lost, and the generations that they bought."""
    return lose_two_answers(desk)


def lose_two_answers(desk):
    requests = [make_paid_request("a cat"), make_paid_request("a dog")]
    desk.fault("create", "drop_after")
    desk.fault("history", "error_before")
    desk.run(requests)
    desk.heal()
    of_prompt = {job["prompt"]: job["generation_id"] for job in desk.emulator.account.bill()["details"]}
    return [(request, of_prompt[request.spec.prompt]) for request in requests]


def adopt(desk, request, generation_id, *, force=False):
    return adopt_generation(
        desk.store, request.request_id, generation_id, desk.leonardo, book_again=book_again, force=force
    )


def retract(desk, request, generation_id, reason="it shows a dog"):
    return retract_adoption(desk.store, request.request_id, generation_id, reason)


def source_of(desk, request):
    """The hash of what the provider served, of the one image that is stored for a request."""
    ending = read_event(desk.store, final_key(request.request_id, desk.entry(request)))
    (image,) = ending.images
    assert desk.store.head(image.object_key).metadata[SOURCE_ENTRY] == image.source_sha256
    return image.source_sha256


def test_a_wrong_adoption_is_undone_before_its_images_are_stored(desk, two):
    (cat, of_cat), (dog, of_dog) = two
    adopt(desk, cat, of_dog, force=True)
    with pytest.raises(NotByHand, match=f"belongs to request {cat.request_id}"):
        adopt(desk, dog, of_dog, force=True)
    entry = retract(desk, cat, of_dog)
    assert (entry.state, entry.attempt, entry.generations) == (RequestState.OPEN, 1, ())
    adopt(desk, dog, of_dog)
    adopt(desk, cat, of_cat)
    assert desk.run([cat, dog]).requests == {"completed": 2}
    assert source_of(desk, cat) != source_of(desk, dog)
    assert desk.judge([cat, dog]).is_clean


@pytest.mark.parametrize("on_s3", [False, True])
def test_a_wrong_adoption_is_undone_after_its_images_were_stored_and_the_right_ones_take_their_place(
    desk, request, on_s3
):
    if on_s3:
        desk.store = request.getfixturevalue("s3_store")
    (cat, of_cat), (dog, of_dog) = lose_two_answers(desk)
    adopt(desk, cat, of_dog, force=True)
    assert desk.run([cat]).requests == {"completed": 1}
    wrong = source_of(desk, cat)
    assert retract(desk, cat, of_dog).state is RequestState.OPEN
    adopt(desk, dog, of_dog)
    adopt(desk, cat, of_cat)
    assert desk.run([cat, dog]).requests == {"completed": 2}
    assert source_of(desk, dog) == wrong
    assert source_of(desk, cat) != wrong
    assert desk.bill["duplicates"] == 0
    assert desk.bill["generations"] == 2


def test_the_next_run_gives_what_was_taken_back_to_its_owner_and_not_to_who_gave_it_back(desk, two):
    (cat, of_cat), (dog, _) = two
    adopt(desk, cat, of_cat)
    retract(desk, cat, of_cat, "a mistake of mine")
    assert desk.run([dog]).requests == {"completed": 1}
    desk.run([cat])
    assert desk.entry(cat).generations != (of_cat,)
    # Whoever took it back by mistake adopts it again.
    if desk.state(cat) is RequestState.OPEN:
        adopt(desk, cat, of_cat)
        assert desk.run([cat]).requests == {"completed": 1}
        assert desk.bill["generations"] == 2


def test_a_mistaken_retraction_is_undone_by_adopting_again(desk, two):
    (cat, of_cat), _ = two
    for _ in range(2):
        adopt(desk, cat, of_cat)
        retract(desk, cat, of_cat)
    entry = adopt(desk, cat, of_cat)
    assert (entry.state, entry.attempt) == (RequestState.SUBMITTED, 2)
    assert desk.run([cat]).requests == {"completed": 1}


def test_what_was_released_and_turns_up_after_all_is_adopted_and_not_bought_again(desk, two):
    (cat, of_cat), _ = two
    assert release_request(desk.store, cat.request_id, "not seen in the account").state is RequestState.FREE
    entry = adopt(desk, cat, of_cat)
    assert (entry.state, entry.attempt) == (RequestState.SUBMITTED, 0)
    assert desk.run([cat]).requests == {"completed": 1}
    assert desk.bill["generations"] == 2
    other = make_paid_request("a cow")
    with pytest.raises(NotByHand, match="is free, not open"):
        adopt(desk, other, of_cat)


def committed(desk):
    return read_budget(desk.store, DATASET, today=False).committed


@pytest.mark.parametrize("is_settled", [False, True])
def test_what_was_released_and_is_adopted_counts_against_the_caps_again_and_once(desk, two, is_settled):
    (cat, of_cat), (dog, of_dog) = two
    adopt(desk, dog, of_dog)
    release_request(desk.store, cat.request_id, "not seen in the account")
    if is_settled:
        assert desk.run([dog]).requests == {"completed": 1}
        assert committed(desk) == CREDITS
    adopt(desk, cat, of_cat)
    assert committed(desk) == 2 * CREDITS
    cow = make_paid_request("a cow")
    report = desk.run([dog, cat, cow], budget={"max_credits_total": 3 * CREDITS - 1})
    assert (report.requests["completed"], report.requests["not_sent"]) == (1 if is_settled else 2, 1)
    assert desk.run([cow], budget={"max_credits_total": 3 * CREDITS}).requests == {"completed": 1}
    assert committed(desk) == desk.bill["credits"] == 3 * CREDITS


def test_a_retraction_leaves_what_was_released_released(desk, two):
    (cat, of_cat), _ = two
    release_request(desk.store, cat.request_id, "not seen in the account")
    adopt(desk, cat, of_cat)
    entry = retract(desk, cat, of_cat)
    assert (entry.state, entry.attempt, entry.generations) == (RequestState.FREE, 1, ())


class Dying:
    """A store whose process dies at the n-th write."""

    def __init__(self, store, writes):
        self.store, self.left = store, writes

    def __getattr__(self, name):
        return getattr(self.store, name)

    def create(self, *arguments, **options):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.store.create(*arguments, **options)


@pytest.mark.parametrize("completed", [False, True])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_retraction_that_is_cut_off_anywhere_changes_nothing_or_is_finished_by_repeating_it(
    desk, two, writes, completed
):
    (cat, of_cat), (dog, of_dog) = two
    adopt(desk, cat, of_dog, force=True)
    if completed:
        desk.run([cat])
    before = desk.state(cat)
    with pytest.raises(KeyboardInterrupt):
        retract_adoption(Dying(desk.store, writes), cat.request_id, of_dog, "it shows a dog")
    assert desk.state(cat) is (before if writes < 2 else RequestState.OPEN)
    with pytest.raises(NotByHand):
        adopt(desk, dog, of_dog)
    assert retract(desk, cat, of_dog).state is RequestState.OPEN
    adopt(desk, dog, of_dog)
    adopt(desk, cat, of_cat)
    assert desk.run([cat, dog]).requests == {"completed": 2}
    events = show_request(desk.store, cat.request_id)[1]
    assert len([event for event in events if isinstance(event, Retracted)]) == 1


def test_what_leonardo_s_own_answer_named_is_never_taken_back(desk):
    (request,) = make_paid_requests(1)
    desk.run([request])
    (generation_id,) = desk.entry(request).generations
    with pytest.raises(NotByHand, match="own answer"):
        retract(desk, request, generation_id)
    with pytest.raises(NotByHand, match="has adopted no generation other"):
        retract(desk, request, "other")
    assert desk.state(request) is RequestState.COMPLETED


def test_manifests_tell_a_retraction_and_what_came_in_its_place(desk, tmp_path):
    dataset = LivingDataset(desk=desk, folder=tmp_path)
    rows = [{"prompt_id": "cat", "prompt": "a cat"}]
    desk.fault("create", "drop_after")
    desk.fault("history", "error_before", status=401, message="access denied")
    first = dataset.bring(rows)
    desk.heal()
    (row,) = first.manifest.to_dict("records")
    request_id = row["request_id"]
    (right,) = [job["generation_id"] for job in desk.emulator.account.bill()["details"]]
    wrong = desk.emulator.account.add_web_app_generation(
        replace(desk.emulator.account.job(right).order, seed=5)
    ).generation_id
    adopt_generation(desk.store, request_id, wrong, desk.leonardo, book_again=book_again, force=True)
    reported = dataset.bring().manifest.iloc[0]
    assert (reported["status"], reported["generation_id"]) == ("stored", wrong)
    retract_adoption(desk.store, request_id, wrong, "another picture")
    adopt_generation(desk.store, request_id, right, desk.leonardo, book_again=book_again)
    reported = dataset.bring().manifest.iloc[0]
    assert (reported["status"], reported["generation_id"]) == ("stored", right)
    assert desk.store.head(reported["object_key"]).metadata["generation-id"] == right


def test_a_deleted_generation_is_ended_only_with_the_right_account_s_key(desk, start_desk):
    stuck, other = make_paid_request("emulate-stuck"), make_paid_request("a dog")
    desk.run([stuck, other], engine={"give_up_after_seconds": 0.1})
    (generation_id,) = desk.entry(stuck).generations
    submitted = next(event for event in show_request(desk.store, stuck.request_id)[1] if isinstance(event, Submitted))
    make_old(desk.store, submitted)
    stranger = start_desk(user_id="00000000-0000-4000-8000-00000000beef").leonardo
    with pytest.raises(AnotherAccount, match="use a key of that account"):
        end_deleted(desk.store, stuck.request_id, "gone", stranger, force=True)
    # A store from before stores said whose they are.
    desk.store.delete(ACCOUNT_KEY)
    with pytest.raises(NotByHand, match="may be another account"):
        end_deleted(desk.store, stuck.request_id, "gone", stranger)
    with pytest.raises(NotByHand, match="knows generation"):
        end_deleted(desk.store, stuck.request_id, "gone", desk.leonardo)
    desk.emulator.account.delete(generation_id)
    assert end_deleted(desk.store, stuck.request_id, "gone", desk.leonardo).state is RequestState.FAILED
    with pytest.raises(NotByHand, match="is failed, not submitted"):
        end_deleted(desk.store, stuck.request_id, "gone", desk.leonardo)
    assert desk.run([stuck]).requests == {}


def test_with_another_account_s_key_nothing_is_adopted(two, desk, start_desk):
    (cat, of_cat), _ = two
    stranger = start_desk(user_id="00000000-0000-4000-8000-00000000beef").leonardo
    with pytest.raises(AnotherAccount):
        adopt_generation(desk.store, cat.request_id, of_cat, stranger, book_again=book_again, force=True)
    assert desk.state(cat) is RequestState.OPEN


def make_old(store, submitted):
    older = replace(submitted, at=submitted.at - timedelta(hours=1))
    store.replace(event_key(older), encode_event(older), content_type="application/json")
