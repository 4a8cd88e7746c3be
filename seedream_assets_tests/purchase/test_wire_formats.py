"""Claims about how fields are written: each API takes what it takes, and a refusal for it names the setting, once."""

import pytest

from seedream_assets.config.models import ModelCatalog, TighterLimits
from seedream_assets.errors import RequestFormRefused
from seedream_assets.ledger.events import Intent, Released
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import read_event
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests

FORMS = ("word", "boolean", "omit_when_off")
TAKEN = {
    "send_prompt_enhance": {
        "word": {"word", "omit_when_off"},
        "boolean": {"boolean", "omit_when_off"},
        "either": set(FORMS),
        "nothing": {"omit_when_off"},
    },
    "send_style": {"all": {"always", "when_asked"}, "presets": {"when_asked"}, "nothing": {"when_asked"}},
    "send_seed": {True: {"always", "when_asked"}, False: {"when_asked"}},
}
CASES = [
    (setting, form, accepted, form in taken)
    for setting, by_api in TAKEN.items()
    for accepted, taken in by_api.items()
    for form in (FORMS if setting == "send_prompt_enhance" else ("always", "when_asked"))
]


def writing(**options: str) -> ModelCatalog:
    return ModelCatalog(TighterLimits(**options))


def events(desk, request):
    return [read_event(desk.store, info.key) for info in desk.store.list(f"requests/{request.request_id}/")]


@pytest.mark.parametrize(("setting", "form", "accepted", "is_taken"), CASES)
def test_each_api_takes_its_forms_and_refuses_the_others_once(start_desk, setting, form, accepted, is_taken):
    desk = start_desk(accepts={setting.removeprefix("send_"): accepted})
    requests = make_paid_requests(3)
    models = writing(**{setting: form})
    if is_taken:
        assert desk.run(requests, models=models).requests == {"completed": 3}
        return
    with pytest.raises(RequestFormRefused, match=rf"set leonardo\.{setting}: .*\(it is {form}\)"):
        desk.run(requests, models=models)
    assert desk.bill["requests"]["creates"] == 1
    assert desk.bill["generations"] == 0
    # The ids do not depend on the form: what was refused is bought once the setting is right.
    right = sorted(TAKEN[setting][accepted])[0]
    assert desk.run(requests, models=writing(**{setting: right})).requests == {"completed": 3}
    assert desk.judge(requests).is_clean


def test_a_seed_and_a_style_that_a_row_gives_are_sent_when_asked_for(desk):
    models = writing(send_seed="when_asked", send_style="when_asked")
    request = make_paid_request("a cat", seed=7)
    assert desk.run([request], models=models).requests == {"completed": 1}
    assert [event.seed for event in events(desk, request) if isinstance(event, Intent)] == [7]


def test_a_refusal_after_an_acceptance_is_about_the_row(desk):
    requests = make_paid_requests(3)
    desk.fault(
        "create", "error_before", status=400, message="Validation failed", code="VALIDATION_ERROR", skip=1, times=1
    )
    assert desk.run(requests).requests == {"completed": 2, "failed": 1}


def test_without_a_seed_a_lost_answer_is_left_to_a_person_and_not_bought_again(desk):
    models = writing(send_seed="when_asked")
    requests = make_paid_requests(3)
    desk.fault("create", "drop_after", times=1)
    report = desk.run(requests, models=models)
    assert report.requests == {"uncertain": 1, "completed": 2}
    assert "it was sent without a seed" in next(iter(report.notes.values()))
    assert desk.run(requests, models=models).requests == {"uncertain": 1}
    assert desk.run(requests).requests == {"uncertain": 1}  # also once seeds are sent again
    assert desk.bill["generations"] == 3
    assert [desk.state(request) for request in requests].count(RequestState.OPEN) == 1


def test_without_a_seed_what_was_not_bought_is_released_by_what_shows_after_it(desk):
    models = writing(send_seed="when_asked")
    requests = make_paid_requests(4)
    desk.fault("create", "drop_before", times=1)
    assert desk.run(requests, models=models).requests == {"completed": 4}
    assert [event.why for event in events(desk, requests[0]) if isinstance(event, Released)] == ["not_in_history"]
    assert desk.bill["generations"] == 4


@pytest.mark.parametrize("status", [400, 429])
def test_without_a_seed_an_untrue_refusal_is_not_believed(desk, status):
    requests = make_paid_requests(3)
    desk.fault("create", "error_after", status=status, message="no", times=1)
    report = desk.run(requests, models=writing(send_seed="when_asked"))
    assert report.requests == {"uncertain": 1, "completed": 2}
    assert desk.bill["generations"] == 3


def test_without_a_seed_an_untrue_refusal_that_was_believed_is_not_bought_again(desk):
    models = writing(send_seed="when_asked")
    requests = make_paid_requests(3)
    desk.fault("create", "error_before", status=400, message="no", times=1)
    desk.fault("create", "error_after", status=400, message="no")
    assert desk.run(requests, models=models).requests == {"failed": 3}
    desk.heal()
    report = desk.run(requests, models=models)
    assert report.requests == {"completed": 1, "pending": 2}
    assert desk.bill["generations"] == 3
