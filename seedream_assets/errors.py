"""Every error of the project, in one tree.

    SeedreamError
    ├── ConfigError              the dataset's YAML or a resource's configuration is wrong
    │   └── PartitionKeyError      no partition of this dataset can have this name; no other is concerned
    ├── PromptTableError         the table as a whole cannot be used (bad rows are data, not errors)
    ├── LimitError               a request is outside the model's or the deployment's limits
    ├── BudgetError              the money does not allow it, or the price is unknown
    │   └── NoCapError             nobody has said how much may be spent
    ├── ApprovalError            what was approved is not what is planned
    ├── LeonardoError            the paid API answered with an error, or did not answer
    │   ├── LeonardoUnavailable    transport or server fault on something that may be repeated
    │   ├── LeonardoRefused        the answer proves that nothing was accepted
    │   │   ├── RateLimited          429; may be repeated
    │   │   ├── AuthenticationFailed
    │   │   ├── BalanceExhausted
    │   │   ├── RequestFormRefused   how a field is written is not what the API takes; a setting changes it
    │   │   └── PromptBlocked        moderation; never repeated unchanged
    │   └── SubmitUncertain        a paid POST was sent and no answer says what became of it
    │       └── SubmitMisdirected    what answered is not Leonardo's API
    ├── DownloadError            an image could not be fetched, or what came is not the image
    ├── EmbedError               metadata cannot be embedded in an image, or removed; its bytes stay as they are
    ├── StoreError               the object store failed
    │   ├── ObjectNotFound
    │   ├── ObjectUnreadable       one object is not what stands under its key; what hangs on it waits
    │   ├── StoreUnavailable       may be repeated
    │   └── StoreRefused           the store cannot be used safely
    │       └── AnotherAccount       what is in it was bought from another account
    ├── ExportError              the dataset cannot be written in this format, or not to this place
    └── Interrupted              a person or a supervisor asked the run to stop

Each class says with `may_retry` whether the same call may be made again by a machine.
"""

from __future__ import annotations

from dataclasses import dataclass


class SeedreamError(Exception):
    """Base of all errors that this project raises on purpose."""

    may_retry: bool = False


class ConfigError(SeedreamError):
    """A dataset's declaration or a resource's configuration is wrong; nothing was read or spent."""


class PartitionKeyError(ConfigError):
    """No partition of this dataset can have this name; nothing was read for it, and no other is concerned."""


class PromptTableError(SeedreamError):
    """The prompt table as a whole cannot be used; nothing was written."""


class LimitError(SeedreamError):
    """A value is outside the limits; nothing was sent.

    Args:
        name: The parameter, as the prompt table and Leonardo name it.
        got: The value asked for.
        allowed: What is allowed, for a person.
        fix: What to do.
    """

    def __init__(self, name: str, *, got: object, allowed: str, fix: str) -> None:
        super().__init__(f"{name}: got {got!r}, allowed is {allowed}; {fix}")
        self.name = name
        self.got = got
        self.allowed = allowed
        self.fix = fix


class ApprovalError(SeedreamError):
    """Another plan was approved than the one that is to be bought; nothing was sent."""


class BudgetError(SeedreamError):
    """The money does not allow it, or a price is not known; nothing was sent."""


class NoCapError(BudgetError):
    """Nobody has said how much may be spent, nor that there is no limit; nothing was bought."""


class LeonardoError(SeedreamError):
    """The paid API answered with an error, or did not answer.

    Args:
        message: The server's own text where there is one.
        status: HTTP status; None when no answer came.
        code: The server's error code, for example `VALIDATION_ERROR`.
        request_id: The server's `X-Request-ID`, for its support desk.
        retry_after_seconds: The server's `Retry-After`, when it sent one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        facts = [
            f"HTTP {status}" if status is not None else None,
            f"code {code}" if code else None,
            f"request id {request_id}" if request_id else None,
        ]
        suffix = ", ".join(fact for fact in facts if fact)
        super().__init__(f"{message} ({suffix})" if suffix else message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class LeonardoUnavailable(LeonardoError):
    """A transport or server fault on a call that may be repeated."""

    may_retry = True


class LeonardoRefused(LeonardoError):
    """The answer proves that nothing was accepted and nothing is billed."""


class RateLimited(LeonardoRefused):
    """429: refused for now; the same call may be made again after a wait."""

    may_retry = True


class AuthenticationFailed(LeonardoRefused):
    """The key is missing, malformed or unknown to Leonardo."""


class BalanceExhausted(LeonardoRefused):
    """The account has no balance left for this request."""


class RequestFormRefused(LeonardoRefused):
    """The API does not take how a field is written. It says which setting writes it otherwise; every request fares the same."""


class PromptBlocked(LeonardoRefused):
    """Moderation refused the prompt before a job existed; the same prompt is never sent again unchanged."""


class SubmitUncertain(LeonardoError):
    """A paid POST was sent, and no answer says whether it was accepted. It must never be repeated blindly."""


class SubmitMisdirected(SubmitUncertain):
    """What answered a paid POST is not Leonardo's API: a redirect, or a page. Every other request would fare the same."""


class DownloadError(SeedreamError):
    """An image could not be fetched, or what came is not the image. The generation stays paid and may be fetched again."""

    def __init__(self, message: str, *, may_retry: bool) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class EmbedError(SeedreamError):
    """Metadata cannot be embedded in an image, or removed from it. The image stays as it is, and is never lost."""


class StoreError(SeedreamError):
    """The object store failed."""


class ObjectNotFound(StoreError):
    """No object has this key."""


class ObjectUnreadable(StoreError):
    """An object is there and is not what its key says: empty, torn, or another's. Nothing was changed.

    What hangs on this object waits; everything else goes on.

    Args:
        key: The object.
        found: What is wrong with it.
        remedy: What to do, for a person.
    """

    def __init__(self, key: str, *, found: str, remedy: str) -> None:
        super().__init__(f"{key} {found}; {remedy}")
        self.key = key


class StoreUnavailable(StoreError):
    """The store did not answer, or asked to slow down; the same call may be made again."""

    may_retry = True


class StoreRefused(StoreError):
    """The store cannot be used safely: no such bucket, no permission, no room, or no create-only writes."""


class AnotherAccount(StoreRefused):
    """The store belongs to another account than the key, or to another address; nothing was bought."""


class ExportError(SeedreamError):
    """The dataset cannot be written in this format, or not to this place; what lay there was left alone."""


class Interrupted(SeedreamError):
    """A person or a supervisor asked the run to stop; what is owned is kept, and the next run goes on from there."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a cell is not accepted: a short word for machines, what is allowed and what to do for people."""

    rule: str
    allowed: str
    fix: str
