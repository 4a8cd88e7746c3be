"""Stage 3, `images`: the only stage that spends. Buys what the plan wants and nobody owns, and stores every image.

datasets/<dataset>/runs/<partition>.json    what the latest run did, and why it stopped
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from uuid import uuid4

from pydantic import TypeAdapter

from seedream_assets.core.declaration import DatasetDeclaration
from seedream_assets.core.errors import DeclarationError, ObjectNotFound, StoreError
from seedream_assets.core.generation_requests import GenerationRequest
from seedream_assets.core.ledger import RequestState, Standing
from seedream_assets.core.ledger_events import FinalEvent
from seedream_assets.core.parquet import iterate_rows
from seedream_assets.core.plan import read_plan
from seedream_assets.core.run_report import Progress, RunReport
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.errand import Demand, Predecessor
from seedream_assets.generation.generation_requests import read_plan_object
from seedream_assets.generation.ledger_store import read_standings
from seedream_assets.generation.marking_settings import open_marking
from seedream_assets.generation.run import RunOrder, run_generation
from seedream_assets.generation.submitting import AtStep
from seedream_assets.storage.object_store import ObjectStore

_REPORT: TypeAdapter[RunReport] = TypeAdapter(RunReport)


def buy_images(
    declaration: DatasetDeclaration,
    partition: str,
    deployment: Deployment,
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    on_ending: Callable[[FinalEvent], None] = lambda _event: None,
    dagster_run_id: str | None = None,
    watch_parent: bool = False,
    at_step: AtStep = lambda _step, _request_id: None,
) -> RunReport:
    """Bring every request of the partition's plan to its end. Blocks until the run has ended.

    Where everything is owned already, neither the paid API nor the account is asked anything.

    Args:
        declaration, partition, deployment: What is wanted, and on what.
        on_progress: Called every few seconds.
        on_ending: Told how each request ended that this run brought to its end.
        dagster_run_id: Stands in the ledger and in the manifest.
        watch_parent: Stop when the process that started this one is gone.
        at_step: For tests that kill a process at a named point.

    Raises:
        DeclarationError: There is no key, or what the images are to be signed with cannot be used.
        StoreError, LeonardoError: As `run_generation`.
    """
    store = deployment.store
    plan = read_plan_object(store, declaration, partition)
    prices = {row["request_id"]: int(row["credits"]) for row in iterate_rows(plan)}
    # The plan may be a day old: what others have bought since then is not bought again, and need not be claimed first.
    standings = {key: found for key, found in read_standings(store, prices).items() if not found.is_final}

    def keep_report(report: RunReport) -> None:
        _write_report(store, declaration.key("runs", partition, ".json"), report)

    if not standings:
        report = _nothing_to_do()
        keep_report(report)
        return report
    if deployment.leonardo is None:
        raise DeclarationError("no Leonardo key: set LEONARDO_API_KEY; planning needs none, buying does")
    return run_generation(
        RunOrder(
            store=store,
            leonardo=deployment.leonardo,
            settings=deployment.engine,
            models=deployment.models,
            budget=declaration.budget,
            dataset=declaration.name,
            partition=partition,
            demands=_demands(plan, standings),
            total=len(standings),
            marking=open_marking(declaration, partition, store),
            credits_to_buy=sum(prices[key] for key, found in standings.items() if found.state is RequestState.FREE),
            dagster_run_id=dagster_run_id,
            on_progress=on_progress,
            on_report=keep_report,
            on_ending=on_ending,
            watch_parent=watch_parent,
            at_step=at_step,
        )
    )


def _write_report(store: ObjectStore, key: str, report: RunReport) -> None:
    try:
        store.replace(key, _REPORT.dump_json(report, indent=1), content_type="application/json")
    except StoreError:
        # A run that ends because the store fails must tell that, and not that its report could not be kept.
        if report.stopped != "refused":
            raise


def _demands(plan: bytes, standings: Mapping[str, Standing]) -> Iterator[Demand]:
    """What is not final, in the plan's order: the requests of one spec follow each other."""
    before: tuple[GenerationRequest, Standing] | None = None
    for request, planned in read_plan(iterate_rows(plan)):
        if request.request_id in standings:
            yield Demand(
                request=request,
                standing=standings[request.request_id],
                predecessor=_predecessor(request, before, standings),
            )
        before = request, planned


def _predecessor(
    request: GenerationRequest, before: tuple[GenerationRequest, Standing] | None, standings: Mapping[str, Standing]
) -> Predecessor | None:
    """The request before this one where it was nobody's when the plan was made and has come to its end since."""
    if request.start == 0 or before is None:
        return None
    earlier, planned = before
    if planned.state is not RequestState.FREE or earlier.request_id in standings:
        return None
    return Predecessor(request_id=earlier.request_id, count=earlier.count)


def _nothing_to_do() -> RunReport:
    return RunReport(
        run_id=uuid4().hex,
        requests=Counter(),
        images_stored=0,
        credits_booked=0,
        costs=dict[str, Decimal](),
        reasons={},
        stopped=None,
        stop_reason=None,
        seconds=0.0,
    )


def load_report(store: ObjectStore, declaration: DatasetDeclaration, partition: str) -> RunReport | None:
    """What the latest run over this partition did; None where there was none."""
    key = declaration.key("runs", partition, ".json")
    try:
        return _REPORT.validate_json(store.read(key))
    except ObjectNotFound:
        return None
    except ValueError as error:
        raise StoreError(f"{key} is not a run report") from error
