"""The paid step: intent, then one POST, then `submitted` before anything else is done with the id.

This is the only module that spends. Reference images are uploaded before anything is claimed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from seedream_assets.config.images import EXTENSIONS, OWN_FORMATS
from seedream_assets.config.models import ModelSpec
from seedream_assets.config.retry import BUSY_SUBMITS, SUBMITS, Clock, Sleep, format_seconds, repeat
from seedream_assets.errors import (
    Interrupted,
    LeonardoRefused,
    LeonardoUnavailable,
    ObjectNotFound,
    ObjectUnreadable,
    PromptBlocked,
    RateLimited,
    RequestFormRefused,
    StoreError,
    SubmitUncertain,
)
from seedream_assets.ledger.events import Blocked, Intent, Released, Submitted
from seedream_assets.ledger.lease import LeaseLapsed
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.leonardo import wire
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, as_sent
from seedream_assets.purchase.task import RequestTask, RunContext
from seedream_assets.storage.async_store import AsyncStore

# A generation that was accepted takes a moment to show in the history.
SHORTEST_WAIT_SECONDS = 10.0
# File extensions of reference images that Leonardo takes.
_TAKEN = tuple(EXTENSIONS[name] for name in OWN_FORMATS)


class Refusals:
    """Whether a refusal is true: the first of each kind is checked against the account's history.

    A server can accept a request and answer that it did not. So the first refusal of a kind (status and code) in a run
    holds up all of that kind until the history has been read once. Where the history shows that the request was bought
    after all, that kind proves nothing any more in this run. Where it shows nothing, or cannot be read, a refusal in one
    of the API's documented forms stands.

    Args:
        recovery: Looks at the history.
        settle_seconds: How long the history may take to show a generation; a twelfth of it is waited for, and no more
            than `SHORTEST_WAIT_SECONDS` unless the history was seen to be slower.
        pause: A wait that ends early when the run does.
    """

    def __init__(self, *, recovery: Recovery, settle_seconds: float, pause: Sleep, clock: Clock) -> None:
        self._recovery = recovery
        self._first_wait_seconds = min(SHORTEST_WAIT_SECONDS, settle_seconds / 12)
        self._pause = pause
        self._clock = clock
        # Whether each kind is believed; until that is known, what is held up waits for it.
        self._kinds: dict[tuple[int | None, str | None], asyncio.Future[bool]] = {}
        self._looks = 0

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed; None where nothing is."""
        if not self._looks:
            return None
        wait = format_seconds(self._wait_seconds)
        requests = "a refused request is" if self._looks == 1 else f"{self._looks} refused requests are"
        return f"{requests} looked up in the account's history, {wait} after the refusal, before it is believed"

    async def stands(self, error: LeonardoRefused, intent: Intent, *, look: bool) -> bool:
        """Whether a refusal proves that the request was not accepted.

        Args:
            error: The refusal.
            intent: Of the request that was refused.
            look: Look this very request up even where the kind is believed: before it is sent again.
        """
        kind = error.status, error.code
        verdict = self._kinds.get(kind)
        if verdict is None:
            verdict = self._kinds[kind] = asyncio.get_running_loop().create_future()
            await self._find_out(intent, verdict)
            return verdict.result()
        # Refused while the first look was under way: that look may have come too early for this one.
        look = look or not verdict.done()
        return await asyncio.shield(verdict) and not (look and await self._shows(intent))

    async def _find_out(self, intent: Intent, verdict: asyncio.Future[bool]) -> None:
        try:
            verdict.set_result(not await self._shows(intent))
        except BaseException:
            # The run ends, or the store is away: nothing was found out, and nothing may be believed.
            verdict.set_result(False)
            raise

    async def _shows(self, intent: Intent) -> bool:
        """Whether the history shows that the request was bought, once it has had time to show it."""
        self._looks += 1
        try:
            await self._pause(self._wait_seconds)
            return await self._recovery.shows(intent, after=self._clock())
        finally:
            self._looks -= 1

    @property
    def _wait_seconds(self) -> float:
        return max(self._first_wait_seconds, self._recovery.longest_lag_seconds)


class ReferenceUploads:
    """Leonardo's ids of reference images, for one account; each image is uploaded once, and its id remembered.

    references/<sha256>/image.<ext>       the bytes, put there when the prompts were read
    references/<sha256>/<user_id>.json    Leonardo's id of the uploaded image, on that account
    """

    def __init__(self, store: AsyncStore, client: LeonardoClient, *, user_id: str, sleep: Sleep) -> None:
        self._store = store
        self._client = client
        self._user_id = user_id
        self._sleep = sleep
        self._ids: dict[str, str] = {}
        self._one_upload: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ids_for(self, spec: GenerationSpec) -> dict[str, str]:
        """Leonardo's id for each of the spec's references that is named by content hash.

        Raises:
            LeonardoError: An upload failed; nothing was bought.
            StoreError: The bytes are not in the store.
        """
        hashes = [reference.sha256 for reference in spec.references if reference.sha256]
        return {sha256: await self._id_for(sha256) for sha256 in hashes}

    async def _id_for(self, sha256: str) -> str:
        async with self._one_upload[sha256]:
            if sha256 not in self._ids:
                self._ids[sha256] = await self._remembered(sha256) or await self._upload(sha256)
            return self._ids[sha256]

    async def _remembered(self, sha256: str) -> str | None:
        try:
            return str(json.loads(await self._store.read(self._memo_key(sha256)))["init_image_id"])
        except (ObjectNotFound, ValueError, TypeError, KeyError):
            return None  # nothing is remembered that can be read: an upload costs nothing

    async def _upload(self, sha256: str) -> str:
        folder = f"references/{sha256}/image."
        infos = await self._store.list(folder)
        extensions = [info.key.removeprefix(folder) for info in infos]
        extension = next((extension for extension in extensions if extension in _TAKEN), None)
        if extension is None:
            raise StoreError(f"the reference image {sha256} is not in the store; plan the dataset again")
        body = await self._store.read(folder + extension)
        if hashlib.sha256(body).hexdigest() != sha256:
            raise ObjectUnreadable(
                folder + extension,
                found="does not hold the bytes that its name is the hash of",
                remedy="delete it and run again: the reference is then read anew from where the table names it",
            )
        image_id = await repeat(lambda: self._client.upload_reference(body, extension=extension), sleep=self._sleep)
        # The id exists before the bytes do: it is remembered only now, after the upload was accepted.
        memo = json.dumps({"init_image_id": image_id, "sha256": sha256, "user_id": self._user_id}, indent=1).encode()
        await self._store.create(self._memo_key(sha256), memo)
        return image_id

    def _memo_key(self, sha256: str) -> str:
        return f"references/{sha256}/{self._user_id}.json"


@dataclass(slots=True, kw_only=True)
class Submits:
    """Claims requests and sends them, each once.

    Attributes:
        references: Uploads reference images, before anything is claimed.
        refusals: Asked before anything rests on a refusal.
        account_refusal: A refusal that concerns the account and not the request (key, balance): every other request
            would fare the same.
    """

    run: RunContext
    client: LeonardoClient
    references: ReferenceUploads
    refusals: Refusals
    account_refusal: LeonardoRefused | None = None
    # Models of which a request was accepted in this run: a later refusal is not about how the fields are written.
    _accepted: set[str] = field(default_factory=set)

    async def take_turn(self) -> float:
        """Wait until the account's rate allows one more create, or the run ends. Nothing is claimed ahead of it."""
        return await self.client.take_turn(unless=self.run.stop.interruption)

    async def claim(self, task: RequestTask, *, credits: int) -> bool:
        """Write the intent of the attempt that the task's entry names: the last thing before the request is sent.

        Returns:
            False where another writer's intent is there; what becomes of that one is for its writer to say.
        """
        run = self.run
        run.on("before_intent", task.request_id)
        intent = Intent.of_request(
            self._as_sent(task),
            attempt=task.entry.attempt,
            writer=run.lease.writer(),
            credits_reserved=credits,
            dataset=run.dataset,
            partition=run.partition_of(task.request_id),
            run_id=run.run_id,
            dagster_run_id=run.dagster_run_id,
            account=run.account_id,
        )
        if not await run.ledger.write(intent):
            return False
        run.on("after_intent", task.request_id)
        written_at = await run.ledger.intent_written_at(task.request_id, intent.attempt)
        task.intent, task.intent_written_at = intent, written_at or intent.at
        return True

    async def send(self, task: RequestTask) -> Submitted | Blocked | Released:
        """Send a claimed request, once, and write down what became of it.

        A refusal that may pass (429) and a connection that was never made are tried again as often as the policies
        allow: each time with a turn of its own, and a look at the lease by the store's clock. Every other answer is
        written down, and is final for this attempt.

        Raises:
            SubmitUncertain: Sent, and not known whether it was accepted. The intent stays open.
            LeaseLapsed: Others may have taken over; not sent, and released.
        """
        for tries in count(1):
            try:
                if tries > 1:
                    task.turn = await self.take_turn()
                    await self.run.lease.refuse_if_lapsed_by_store(task.claimed.writer.engine_id)
                return await self._send_once(task)
            except (RateLimited, LeonardoUnavailable) as error:
                # Before it is sent again: was it accepted all the same?
                if isinstance(error, RateLimited) and not await self.refusals.stands(error, task.claimed, look=True):
                    raise _uncertain(error) from error
                policy = BUSY_SUBMITS if isinstance(error, RateLimited) else SUBMITS
                wait = policy.wait_after(tries, error)
                if wait is None:
                    return await self.release(task, f"gave up after {tries} tries: {error}")
                await self.run.pause(wait)
            except Interrupted as error:
                return await self.release(task, str(error))
            except LeaseLapsed as error:
                await self.release(task, str(error))
                raise
        raise AssertionError("the loop returns or raises")

    async def release(
        self, task: RequestTask, reason: str, *, why: Literal["refused", "never_sent"] = "never_sent"
    ) -> Released:
        """Write down that a claimed request was certainly not accepted."""
        self.run.on("before_release", task.request_id)
        released = Released(**self.run.sign(task), why=why, reason=reason)
        await self.run.ledger.write(released)
        self.run.on("after_release", task.request_id)
        return released

    async def _send_once(self, task: RequestTask) -> Submitted | Blocked | Released:
        try:
            submission = await self.client.create(
                self._as_sent(task),
                model=self._model_of(task),
                reference_ids=task.reference_ids,
                turn=task.turn,
                may_send=lambda: self._refuse_to_send_now(task),
            )
        except RateLimited:
            raise
        except LeonardoRefused as error:
            return await self._refused(task, error)
        self.run.on("after_post", task.request_id)
        self._accepted.add(task.request.spec.model)
        submitted = Submitted(
            **self.run.sign(task),
            generation_id=submission.generation_id,
            cost_amount=submission.cost.amount if submission.cost else None,
            cost_unit=submission.cost.unit if submission.cost else None,
        )
        await self.run.ledger.write(submitted)
        self.run.on("after_submitted", task.request_id)
        return submitted

    async def _refused(self, task: RequestTask, error: LeonardoRefused) -> Blocked | Released:
        """Write down a refusal, once it is believed.

        Raises:
            SubmitUncertain: It may have been accepted all the same.
        """
        if not await self.refusals.stands(error, task.claimed, look=False):
            raise _uncertain(error) from error
        if isinstance(error, PromptBlocked):
            blocked = Blocked(**self.run.sign_ending(task, None), reason=str(error))
            await self.run.ledger.write(blocked)
            return blocked
        if type(error) is LeonardoRefused:
            model = self._model_of(task)
            advice = wire.advise_on_form(error, self._as_sent(task), model=model)
            if advice is None or model.name in self._accepted:
                return await self.release(task, f"refused by Leonardo: {error}", why="refused")
            error = RequestFormRefused(f"{error}; {advice}")
        # It is about the account (balance, key) or the deployment, not the request: a later run may buy it as it is.
        self.account_refusal = error
        return await self.release(task, f"refused for the account: {error}")

    def _model_of(self, task: RequestTask) -> ModelSpec:
        return self.run.models.find(task.request.spec.model)

    def _as_sent(self, task: RequestTask) -> GenerationRequest:
        return as_sent(task.request, self._model_of(task))

    def _refuse_to_send_now(self, task: RequestTask) -> None:
        """The last look before a paid request leaves this machine."""
        self.run.on("before_post", task.request_id)
        if self.run.stop.buys_no_more or self.account_refusal is not None:
            raise Interrupted("the run was stopped before this request was sent")
        self.run.lease.refuse_if_lapsed(task.claimed.writer.engine_id, store_time=task.intent_written_at)


def _uncertain(error: LeonardoRefused) -> SubmitUncertain:
    message = f"refused, and the account's history shows that such a refusal need not be true: {error.message}"
    return SubmitUncertain(message, status=error.status, code=error.code)
