"""The command line, all of it: every command of `seedream` with its arguments, options and help.

Imports click and nothing heavy, so that `--help` answers at once. What a command does stands in the module of its name,
which is imported when the command runs. Nothing but declarations belongs here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.shared import described
from seedream_assets.config.exports import FORMAT_OPTIONS
from seedream_assets.emulator.settings import DEMO_USER_ID

# What `spend` can group by; `budget.statement` knows each of them, and a test holds the two together.
GROUPINGS = ("dataset", "partition", "run", "style", "model", "day")
DAYS_RECONCILED = 7
_MOMENTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_PORT = click.IntRange(1, 65535)

Declared = Callable[..., Any]


def _dataset(function: Declared) -> Declared:
    return click.argument("dataset", type=_FILE)(function)


def _json(help_text: str) -> Callable[[Declared], Declared]:
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def _store(function: Declared) -> Declared:
    help_text = "s3://bucket/prefix, file:///… or an absolute path.  [default: SEEDREAM_STORE]"
    return click.option("--store", help=help_text)(function)


def _folder(function: Declared) -> Declared:
    help_text = "Where the store and Dagster's history go. Default: .seedream in the current folder."
    return click.option("--folder", type=_FOLDER, help=help_text)(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedream-assets")
def seedream() -> None:
    """Declare an image dataset and get it, exactly as declared, paid for exactly once."""


@seedream.command("approve", short_help="Let the rest of a plan be bought, after a look at its preview.")
@_dataset
@click.option("--partition", multiple=True, help="A partition to approve; may be repeated. Default: all there are.")
@click.option(
    "--plan", "asked", help="The hash of the plan that you mean; refused where the plan is another one by now."
)
@click.option("--by", help="Who approves. Default: this user on this machine.")
@_json("Print the approval as one JSON object, last on stdout.")
def _approve(**given: Any) -> None:
    """Approve the plan that was last made, so that the next run buys all of it.

    Several partitions are approved as the one run that they were: with the hash that it reported.
    """
    from seedream_assets.cli.approve import approve_plan

    approve_plan(**given)


@seedream.command("check", short_help="List every error in every dataset YAML.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def _check(**given: Any) -> None:
    """List every error in PATHS: YAML files, or folders that hold some. Reads no table and asks no account."""
    from seedream_assets.cli.check import check

    check(**given)


@seedream.command(
    "demo",
    short_help="Materialise the bundled dataset through Dagster, on the bundled emulator; needs no account.",
)
@_folder
def _demo(**given: Any) -> None:
    """Materialise the bundled dataset. Run again, it buys nothing."""
    from seedream_assets.cli.demo import demo

    demo(**given)


@seedream.command("dev", short_help="Open Dagster's UI on the bundled datasets, with the emulator beside it.")
@click.option("--port", type=_PORT, default=3000, show_default=True, help="Of Dagster's UI.")
@click.option("--latency", type=click.FloatRange(0), default=2.0, show_default=True, help="Median seconds of a job.")
@_folder
def _dev(**given: Any) -> None:
    """Serve until Ctrl-C. Every asset can be materialised; nothing costs anything."""
    from seedream_assets.cli.dev import serve_dagster

    serve_dagster(**given)


@seedream.command("emulator", short_help="A stand-in Leonardo on this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 takes a free one.")
@click.option("--slots", type=click.IntRange(1), default=10, show_default=True, help="Generations at once.")
@click.option("--latency", type=click.FloatRange(0), default=2.0, show_default=True, help="Median seconds of a job.")
@click.option("--latency-sigma", type=click.FloatRange(0), default=0.4, show_default=True, help="Of its logarithm.")
@click.option("--balance", type=click.IntRange(0), default=100_000, show_default=True, help="Credits of the account.")
@click.option("--creates-per-minute", type=click.IntRange(0), default=100, show_default=True, help="0: no limit.")
@click.option("--requests-per-minute", type=click.IntRange(0), default=2000, show_default=True, help="0: no limit.")
@click.option("--unit", type=click.Choice(["CREDITS", "DOLLARS"]), default="CREDITS", show_default=True)
@click.option("--user-id", type=click.UUID, default=DEMO_USER_ID, show_default=True, help="Whose account it is.")
def _emulator(**given: Any) -> None:
    """Serve until Ctrl-C. The bill is at /emulator/bill, a page for people at /emulator, settings at /emulator/settings."""
    from seedream_assets.cli.emulator import serve_emulator

    serve_emulator(**given)


@seedream.command(
    "export",
    short_help="Hand a dataset over: ImageFolder, WebDataset, Parquet, Croissant, gallery; proven by opening it.",
)
@_dataset
@click.option(
    "--format",
    "names",
    multiple=True,
    type=click.Choice(list(FORMAT_OPTIONS)),
    help="May be given several times. Default: those that the YAML declares.",
)
@click.option(
    "--to",
    help="s3://bucket/prefix, file:///…, or a path (a relative one as ./out), for one format. Default: "
    "datasets/<name>/exports/<format>/ in the store.",
)
@click.option("--split", help="Column of the prompt table that says train, validation or test.")
@click.option("--shard-bytes", type=int, help="Bytes of images in one file of webdataset, parquet or croissant.")
@click.option("--verify/--no-verify", default=True, help="Open the export with its consumers' libraries.")
@_json("Print one JSON object per export.")
def _export(**given: Any) -> None:
    """Export a dataset. Run again, it finishes what was interrupted and keeps what is whole.

    Exit codes: 0, written and opened, or opening was not possible here; 1, an export does not open as it should.
    """
    from seedream_assets.cli.export import export

    export(**given)


@seedream.group(
    "ledger", short_help="Look at what was bought, and settle what is uncertain.", invoke_without_command=True
)
@_store
@_json("Print the list as a list of objects.")
@click.pass_context
def _ledger(context: click.Context, store: str | None, as_json: bool) -> None:
    """Look at what was bought, and settle what is uncertain. Alone, it lists what needs a person: see `list`."""
    if context.invoked_subcommand is None:
        context.invoke(_ledger_list, store=store, as_json=as_json)
    elif store is not None or as_json:
        raise click.UsageError(
            f"give --store and --json after the command: seedream ledger {context.invoked_subcommand} …"
        )


@_ledger.command("list")
@_store
@_json("Print a list of objects.")
def _ledger_list(**given: Any) -> None:
    """List requests of which it is not known whether they were bought, and those that no run can go on with."""
    from seedream_assets.cli.ledger import list_requests

    list_requests(**given)


@_ledger.command("show")
@click.argument("request_id")
@_store
def _ledger_show(**given: Any) -> None:
    """Print every event of REQUEST_ID (its beginning is enough), in order."""
    from seedream_assets.cli.ledger import show

    show(**given)


@_ledger.command("adopt")
@click.argument("request_id")
@click.argument("generation_id")
@click.option("--force", is_flag=True, help="Adopt it although something differs.")
@_store
def _ledger_adopt(**given: Any) -> None:
    """Record that GENERATION_ID, seen in the account, is what REQUEST_ID bought; the next run stores its images.

    The account is asked for it first (LEONARDO_API_KEY; that costs nothing), and prompt, seed, size, time and images are
    shown side by side. An id that the account does not know, or that is another request's, is refused; so is one that
    differs, without --force. `seedream ledger retract` undoes it.
    """
    from seedream_assets.cli.ledger import adopt

    adopt(**given)


@_ledger.command("retract")
@click.argument("request_id")
@click.argument("generation_id")
@click.option("--reason", required=True, help="How you know that it is not this request's; kept in the ledger.")
@_store
def _ledger_retract(**given: Any) -> None:
    """Take back that GENERATION_ID is what REQUEST_ID bought, also after its images were stored.

    REQUEST_ID is open again, and GENERATION_ID can be adopted by the request that it belongs to. What Leonardo's own
    answer named is never taken back.
    """
    from seedream_assets.cli.ledger import retract

    retract(**given)


@_ledger.command("end")
@click.argument("request_id")
@click.option("--reason", required=True, help="What you know of the deletion; kept in the ledger.")
@click.option("--force", is_flag=True, help="End it although the key finds no other generation of this store either.")
@_store
def _ledger_end(**given: Any) -> None:
    """End REQUEST_ID, whose generation was deleted in the account: it is failed, and never bought again unasked.

    The account is asked first (LEONARDO_API_KEY; that costs nothing): what it still knows is not ended.
    """
    from seedream_assets.cli.ledger import end

    end(**given)


@_ledger.command("release")
@click.argument("request_id", required=False)
@click.option("--all", "every", is_flag=True, help="Every open request that no run works on.")
@click.option("--reason", required=True, help="How you know that nothing was bought; kept in the ledger.")
@_store
def _ledger_release(**given: Any) -> None:
    """Record that REQUEST_ID bought nothing, or with --all every open request; the next run buys it."""
    from seedream_assets.cli.ledger import release

    release(**given)


@_ledger.command("recollect")
@click.argument("request_id", required=False)
@click.option(
    "--dataset",
    type=_FILE,
    help="A dataset's YAML: what was bought for it, with the metadata and the signature that it asks for.",
)
@_store
@_json("Print a list of objects.")
def _ledger_recollect(**given: Any) -> None:
    """Fetch images that came late: of REQUEST_ID, or of all requests that ended with fewer than were paid for.

    Their jobs are asked for once more (LEONARDO_API_KEY); nothing is bought. What is fetched stands in the next manifest.
    """
    from seedream_assets.cli.ledger import recollect

    recollect(**given)


@seedream.command("plan", short_help="Quote a dataset without spending.")
@_dataset
@click.option("--partition", multiple=True, help="A partition to plan; may be repeated. Default: all there are.")
@click.option("--against", help="List what changed since a manifest: its path or address, or: previous.")
@_json("Print the quote as one JSON object, last on stdout.")
def _plan(**given: Any) -> None:
    """Quote a dataset: what is wanted, what is owned, what the rest costs.

    Exit codes: 0; 3, a cap or the balance would stop a run before its end, or a partition cannot be planned.
    """
    from seedream_assets.cli.plan import plan

    plan(**given)


@seedream.command("reconcile", short_help="Compare the account's history with the ledger, both ways; buys nothing.")
@_dataset
@click.option(
    "--since",
    type=click.DateTime(_MOMENTS),
    help=f"The first moment, in UTC.  [default: {DAYS_RECONCILED} days ago]",
)
@click.option("--adopt", is_flag=True, help="Give generations that equal a planned request to it; then compare again.")
@_json("Print the result as one JSON object, last on stdout.")
def _reconcile(*, since: datetime | None, **given: Any) -> None:
    """Compare the account's history with the ledger of DATASET's store, both ways. Buys nothing.

    Generations that no request owns were made in the web app, with another store, or by a request whose answer was lost;
    the whole store is compared, not this dataset alone. Exit codes, as of diff: 0, no difference; 1, differences, or a
    history that could not be read back so far; 2, it could not be compared.
    """
    from seedream_assets.cli.reconcile import compare

    first = since.replace(tzinfo=UTC) if since else datetime.now(UTC) - timedelta(days=DAYS_RECONCILED)
    compare(since=first, **given)


@seedream.command(
    "run",
    short_help="Bring a dataset to the declared state: read, plan, buy, store, write the manifest.",
    epilog=described(),
)
@_dataset
@click.option("--partition", multiple=True, help="A partition to work on; may be repeated. Default: all there are.")
@click.option("--approve", "approved", metavar="HASH", help="The hash of the plan that you approve, for scripts.")
@click.option(
    "--yes",
    is_flag=True,
    help="Buy although the dataset has no cap (a terminal asks without it), or through a new address of the account.",
)
@_json("Print the summary as one JSON object, last on stdout.")
def _run(**given: Any) -> None:
    """Bring a dataset to the declared state. Run again, it buys nothing that is owned."""
    from seedream_assets.cli.run import run

    run(**given)


@seedream.command("spend", short_help="What was bought in a store, over all time, from its ledger.")
@click.argument("store", required=False)
@click.option("--by", multiple=True, type=click.Choice(GROUPINGS), default=("dataset",), show_default=True)
@_json("Print a list of objects.")
def _spend(**given: Any) -> None:
    """Sum what was bought in STORE (default: SEEDREAM_STORE), ever. Several --by group within each other.

    What was bought for rows that were edited or removed since is in it; "in datasets" is what today's manifests have.
    Amounts are those that the API reported. What failed is in them: Leonardo says that it gives such costs back, and no
    answer of its API shows it. Exit code 1 where a part of the ledger cannot be read: the sums are too small then.
    """
    from seedream_assets.cli.spend import sum_up

    sum_up(**given)


@seedream.command("trace", short_help="Say where an image comes from, or which images a prompt row has.")
@click.argument("image", required=False)
@click.option("--row", "prompt_id", help="Go forward: the images of the row with this prompt_id.")
@click.option("--dataset", help="The dataset that --row is of: its name, or its YAML file.")
@click.option("--partition", help="The partition that --row is of; default: all.")
@click.option("--store", "address", help="Where to look. Default: the YAML's store, else SEEDREAM_STORE.")
@_json("Print the trace as one JSON object.")
@click.option("--prov", is_flag=True, help="Print the trace as W3C PROV in JSON-LD.")
def _trace(**given: Any) -> None:
    """Say where IMAGE comes from: a file, an address (https://, s3://, file://), or an id.

    A file is recognised by the id in its metadata, else by its hash; its name does not matter. An id is an image's, a
    request's or a generation's, or a SHA-256.
    """
    from seedream_assets.cli.trace import trace

    trace(**given)


@seedream.command("verify", short_help="Compare the bucket with the manifests of a dataset; reads only.")
@_dataset
@click.option("--partition", help="Compare this partition's manifest alone, and look for nothing extra.")
@click.option("--deep", is_flag=True, help="Read every image and compare its hash; without it, list calls only.")
@click.option(
    "--repair",
    is_flag=True,
    help="Mend first what can be mended: build manifests anew, make unreadable objects of the ledger anew, fetch lost images "
    "again from the account. Buys nothing; what stood there is kept under broken/.",
)
@_json("Print the result as one JSON object, last on stdout.")
def _verify(**given: Any) -> None:
    """Compare the bucket with the manifests of a dataset. Never writes, but with --repair.

    Exit codes, as of diff: 0, no difference; 1, differences, or something that could not be mended; 2, it could not be
    verified.
    """
    from seedream_assets.cli.verify import verify

    verify(**given)
