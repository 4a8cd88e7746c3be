"""What must be true of a store and a bill after everything has been run to its end: shared by the matrices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from seedream_assets.budget.log import BudgetEntry
from seedream_assets.emulator.account import Account
from seedream_assets.errors import DownloadError, StoreError
from seedream_assets.images.inspect import inspect_image
from seedream_assets.ledger.by_hand import release_request
from seedream_assets.ledger.events import Completed, Recollected, decode_event, id_in_key
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.storage.object_store import ObjectStore

_BUDGET = TypeAdapter(BudgetEntry)


@dataclass(kw_only=True)
class Judgement:
    """Counts of what must not be. `credits_off`: the dataset's log against the bill."""

    billed_twice: int = 0
    paid_not_stored: int = 0
    torn: int = 0
    stuck: int = 0
    credits_off: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.billed_twice or self.paid_not_stored or self.torn or self.stuck or self.credits_off)


def judge(store: ObjectStore, account: Account, request_ids: Iterable[str]) -> Judgement:
    """Compare what is stored, and the budget logs of all datasets, with what the account has billed."""
    bill = account.bill(details=True)
    verdict = Judgement(billed_twice=bill["duplicates"])
    stored = stored_images(store, verdict)
    for line in bill["details"]:
        job = account.job(line["generation_id"])
        assert job is not None
        # What was made beyond what was asked for was not paid for.
        paid = min(len(job.indexes(time.time())), job.order.quantity)
        missing = paid - stored[id_in_key(line["generation_id"])]
        verdict.paid_not_stored += max(0, missing)
    for name, entry in LedgerEntries(store).of(request_ids).items():
        if not entry.is_final:
            verdict.stuck += 1
            verdict.notes += [info.key for info in store.list(f"requests/{name}/")] or [f"{name} was never begun"]
    committed = sum(_committed(store, dataset) for dataset in store.list_folders("datasets/"))
    verdict.credits_off = abs(committed - bill["credits"])
    if bill["violations"] or bill["auth_leaks"]:
        verdict.notes.append(f"violations: {bill['violations']}, key shown to others: {bill['auth_leaks']}")
    return verdict


def _committed(store: ObjectStore, dataset: str) -> int:
    entries = list(store.list(f"datasets/{dataset}/budget/"))
    return _BUDGET.validate_json(store.read(entries[-1].key)).committed if entries else 0


def release_what_was_not_billed(store: ObjectStore, account: Account, requests: Iterable[GenerationRequest]) -> int:
    """What a person does who has looked into the account: release open requests of which it shows nothing.

    For those whose answer was lost twice, which no run buys again on the same day. Returns how many.
    """
    billed = {line["prompt"] for line in account.bill(details=True)["details"]}
    wanted = {request.request_id: request for request in requests}
    still_open = [
        name
        for name, entry in LedgerEntries(store).of(wanted).items()
        if entry.state is RequestState.OPEN and wanted[name].spec.prompt not in billed
    ]
    for name in still_open:
        release_request(store, name, "the account shows nothing of it")
    return len(still_open)


def stored_images(store: ObjectStore, verdict: Judgement) -> Counter[str]:
    """Whole images of completed requests, by generation; everything that cannot be read is torn."""
    stored: Counter[str] = Counter()
    for info in store.list("requests/"):
        try:
            event = decode_event(store.read(info.key), key=info.key)
        except StoreError as error:
            verdict.torn += 1
            verdict.notes.append(str(error))
            continue
        if isinstance(event, Completed | Recollected) and event.generation_id:
            for image in event.images:
                if image.object_key is not None and _is_whole(store, image.object_key, image.sha256):
                    stored[id_in_key(event.generation_id)] += 1
    for info in store.list("images/"):
        if not _is_whole(store, info.key, None):
            verdict.torn += 1
            verdict.notes.append(f"torn: {info.key}")
    return stored


def _is_whole(store: ObjectStore, key: str, sha256: str | None) -> bool:
    try:
        facts = inspect_image(store.read(key), largest_pixels=10**8)
    except (DownloadError, StoreError):
        return False
    return sha256 is None or facts.sha256 == sha256
