"""Dagster configuration → plain values: limits that only tighten, and a key that is never seen."""

import json
import logging
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from seedream_assets.components.seedream_resources import SeedreamResources
from seedream_assets.config.account import PRODUCTION_URL, LeonardoSettings, ResourcesConfig
from seedream_assets.config.models import MODELS, TighterLimits
from seedream_assets.errors import ConfigError
from seedream_assets.resources import ImageStoreResource, LeonardoResource

CANARY = "0ca4a57e-feed-4bad-8bad-000000canary"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEONARDO_API_KEY", "LEONARDO_BASE_URL", "SEEDREAM_STORE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("limit", "tightest", "models_own"),
    [
        ("largest_width", 32, 14142),
        ("largest_height", 32, 14142),
        ("largest_quantity", 1, 8),
        ("largest_prompt", 1, 9999),
    ],
)
def test_a_limit_may_be_as_tight_as_the_model_allows_and_never_looser(
    limit: str, tightest: int, models_own: int
) -> None:
    for allowed in (tightest, models_own):
        assert len(LeonardoResource(**{limit: allowed}).models()) == len(MODELS)
    for refused in (tightest - 1, models_own + 1):
        with pytest.raises(ConfigError, match=f"{limit}: got {refused}"):
            LeonardoResource(**{limit: refused}).models()


@pytest.mark.parametrize(
    ("own", "datasets", "expected"),
    [
        ({"largest_width": 1024}, {}, 1024),
        ({}, {"largest_width": 512}, 512),
        ({"largest_width": 1024}, {"largest_width": 512}, 512),
    ],
)
def test_the_tighter_limit_wins(own: dict[str, Any], datasets: dict[str, Any], expected: int) -> None:
    assert LeonardoResource(**own).models(datasets).find("seedream-4.0").width_px.high == expected


def test_a_dataset_cannot_loosen_what_the_deployment_tightened() -> None:
    with pytest.raises(ConfigError, match="can only tighten"):
        LeonardoResource(largest_width=512).models({"largest_width": 1024})


@pytest.mark.parametrize(
    "limits",
    [
        {"allowed_styles": []},
        {"allowed_styles": ["Nope"]},
        {"allowed_models": []},
        {"allowed_models": ["seedream-9"]},
    ],
)
def test_a_choice_is_some_of_what_the_model_has(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        LeonardoResource(**limits).models()


@pytest.mark.parametrize(
    "wrong",
    [
        {"slots": 0},
        {"queue_ahead": -1},
        {"creates_per_minute": 0},
        {"requests_per_minute": 0},
        {"answer_seconds": 0},
        {"balance_unit": "EUROS"},
        {"slot": 3},
    ],
)
def test_what_is_out_of_range_or_mistyped_is_refused_when_it_is_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LeonardoResource(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://leonardo.example"},
        {"base_url": "https://cloud.leonardo.ai/api/rest/v1"},
        {"image_hosts": ["https://cdn.leonardo.ai/path"]},
        {"largest_width": 20000},
    ],
)
def test_everything_is_checked_without_a_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LeonardoResource(**wrong).refuse_unless_allowed()
    with pytest.raises(ConfigError):
        LeonardoResource().refuse_unless_allowed(wrong)


def test_every_setting_and_limit_can_be_configured() -> None:
    configurable = set(LeonardoResource.model_fields)
    settings = set(LeonardoSettings.model_fields) - {"base_url_from"}
    assert settings | set(TighterLimits.model_fields) <= configurable


def test_the_defaults_are_those_of_the_plain_values() -> None:
    plain = LeonardoSettings(api_key=CANARY)
    resource = LeonardoResource()
    for name in set(LeonardoSettings.model_fields) - {"api_key", "base_url", "base_url_from"}:
        found = getattr(resource, name)
        assert (tuple(found) if isinstance(found, list) else found) == getattr(plain, name), name


def test_the_environment_is_read_when_a_run_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    resource, store = LeonardoResource(), ImageStoreResource()
    assert resource.settings() is None
    monkeypatch.setenv("LEONARDO_API_KEY", CANARY)
    monkeypatch.setenv("SEEDREAM_STORE", "file:///tmp/somewhere")
    settings = resource.settings()
    assert settings is not None
    assert (settings.api_key, settings.base_url) == (CANARY, PRODUCTION_URL)
    assert settings.base_url_from == "the default; see LEONARDO_BASE_URL"
    monkeypatch.setenv("LEONARDO_BASE_URL", "http://127.0.0.1:1")
    settings = resource.settings()
    assert settings is not None
    assert settings.described_address == "http://127.0.0.1:1 (LEONARDO_BASE_URL)"
    assert store.open().url == "file:///tmp/somewhere"


def test_no_store_and_an_unset_template_are_refused_when_a_run_starts() -> None:
    with pytest.raises(ConfigError, match="set SEEDREAM_STORE"):
        ImageStoreResource().open()
    with pytest.raises(ConfigError, match="env.TEAM_STORE }} gives nothing"):
        ImageStoreResource(url="file:///tmp/other").open("{{ env.TEAM_STORE }}")


def test_a_key_as_env_var_reaches_the_run_and_shows_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEAM_KEY", CANARY)
    seen: list[str] = []

    @dg.asset
    def probe(context: dg.AssetExecutionContext, leonardo: LeonardoResource) -> None:
        settings = leonardo.settings()
        assert settings is not None
        seen.append(settings.api_key)
        context.log.info("%r %s %r", leonardo, leonardo, settings)

    resource = LeonardoResource(api_key=dg.EnvVar("TEAM_KEY"))
    definitions = dg.Definitions(assets=[probe], resources={"leonardo": resource})
    with dg.DagsterInstance.ephemeral() as instance, caplog.at_level(logging.DEBUG):
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        assert seen == [CANARY]
        records = instance.all_logs(result.run_id)
        printed = "".join(str(record) for record in records) + caplog.text + str(result.dagster_run)
    printed += json.dumps(
        definitions.get_repository_def().get_top_level_resources()["leonardo"].config_schema.default_value
    )
    assert CANARY not in printed
    assert "TEAM_KEY" in printed


def test_a_key_in_the_code_is_refused_and_not_repeated() -> None:
    for make in (
        lambda: dg.Definitions(resources={"leonardo": LeonardoResource(api_key=CANARY)}),
        lambda: LeonardoResource(apikey=CANARY),  # type: ignore[call-arg]
        lambda: LeonardoResource(api_key=[CANARY]),  # type: ignore[arg-type]
        lambda: LeonardoResource(base_url=f"https://{CANARY}@leonardo.example").refuse_unless_allowed(),
    ):
        with pytest.raises((ConfigError, ValidationError)) as refused:
            made = make()
            if isinstance(made, dg.Definitions):
                dg.Definitions.validate_loadable(made)
        assert CANARY not in str(refused.value)
    assert CANARY not in repr(LeonardoResource(api_key=CANARY)) + str(LeonardoResource(api_key=CANARY))


@pytest.mark.parametrize("address", ["", " ", "images", "$SEEDREAM_STORE", '"s3://bucket/x"', "s3//bucket", "~/images"])
def test_no_entrance_takes_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDREAM_STORE", "file:///tmp/the-deployments")
    with pytest.raises(ConfigError):
        ImageStoreResource().open(address)
    with pytest.raises(ConfigError, match=r"^image_store\.url: store address"):
        ImageStoreResource(url=address).open()
    if not address.startswith('"'):  # in YAML, Dagster's templates take quotes for a text's and leave the address
        with pytest.raises(ConfigError, match=r"^image_store\.url: store address"):
            SeedreamResources(ResourcesConfig(image_store={"url": address})).resources()
    monkeypatch.setenv("SEEDREAM_STORE", address)
    with pytest.raises(ConfigError, match="SEEDREAM_STORE"):
        ImageStoreResource().open()


@pytest.mark.parametrize("url", ["{{ env.TEAM_STORE }}", "s3://bucket/{{ env.TEAM_STORE }}/images"])
def test_a_store_of_the_deployment_whose_variable_is_not_set_is_not_taken_for_another(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEAM_STORE", raising=False)
    monkeypatch.setenv("SEEDREAM_STORE", "file:///tmp/the-deployments")
    declared = SeedreamResources(ResourcesConfig(image_store={"url": url})).resources()["image_store"]
    assert isinstance(declared, ImageStoreResource)
    with pytest.raises(ConfigError, match="gives nothing"):
        declared.open()
