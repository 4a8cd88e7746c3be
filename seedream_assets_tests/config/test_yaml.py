"""`check_yaml_files`: every error, in every document, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedream_assets.config.yaml import LARGEST_BYTES, MOST_VALUES, check_yaml_files

BROKEN = """\
# a comment
type: seedream_assets.ImageDataset
attributes:
  name: 1shoe
  prompts:
    table: prompts.csv
    template: "{{ prompt"
    colums: {}
  recipe:
    model: seedream-9
    width: 20000
    height: -3
    quantity: nine
    style: Nope
  partitions: {by: yearly}
  budget:
    max_credits_per_run: -1
  store: ftp://example.com
  leonardo:
    slots: 0
    largest_width: 99999
  recovery: {lease_seconds: 0}
  owners: [bob]
  verify: {schedule: nightly, deep: perhaps}
  approval: {above_credits: -5, preview: 101}
---
type: seedream_assets.ImageDataset
attributes:
  name: bags
  name: bags
  prompts: {table: bags.csv}
  description: "{{ env('NOBODY_SETS_THIS') }}"
---
type: seedream_assets.SeedreamResources
attributes:
  leonardo: {largest_quantity: 9, api_key: x}
---
type: seedream_assets.ImageDatset
"""
EXPECTED = [
    (4, "name: got '1shoe'"),
    (7, "prompts.template: line 1: unexpected end of template"),
    (8, "prompts.colums: there is no such key here (did you mean 'columns'?)"),
    (10, "recipe.model: got 'seedream-9', allowed is one of seedream-4.0"),
    (11, "recipe.width: got 20000, allowed is 32–14142 px"),
    (12, "recipe.height: got -3, allowed is 32–14142 px"),
    (13, "recipe.quantity: got 'nine', allowed is a whole number"),
    (14, "recipe.style: got 'Nope', allowed is one of None, Cinematic"),
    (15, "partitions.by: got 'yearly', allowed is 'none', 'hourly', 'daily'"),
    (17, "budget.max_credits_per_run: got -1"),
    (18, "store address begins with ftp"),
    (20, "leonardo.slots: got 0"),
    (21, "largest_width: got 99999"),
    (22, "recovery.lease_seconds: got 0"),
    (23, "owners.0: got 'bob'"),
    (24, "verify.deep: got 'perhaps'"),
    (24, "verify.schedule: got 'nightly', allowed is a cron expression"),
    (25, "approval.above_credits: got -5, allowed is 0 or more"),
    (25, "approval.preview: got 101, allowed is at most 100"),
    (30, "attributes.name is given twice"),
    (32, "NOBODY_SETS_THIS"),
    (36, "leonardo.api_key: there is no such key"),
    (36, "leonardo.largest_quantity: got 9"),
    (38, "or seedream_assets.SeedreamResources (did you mean 'seedream_assets.ImageDataset'?)"),
]


def lines_and_messages(tmp_path: Path, *texts: str) -> list[tuple[int, str]]:
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        paths.append(path)
    return [(error.line, error.message) for error in check_yaml_files(paths)[0]]


def test_every_error_of_every_document_is_told_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOBODY_SETS_THIS", raising=False)
    found = lines_and_messages(tmp_path, BROKEN)
    assert [line for line, _ in found] == [line for line, _ in EXPECTED]
    for (_, message), (line, begins) in zip(found, EXPECTED, strict=True):
        assert begins in message, line


def test_every_file_is_read_and_not_only_the_last_of_its_type(tmp_path: Path) -> None:
    broken = "type: seedream_assets.ImageDataset\nattributes:\n  name: {}\n  prompts: {{table: p.csv}}\n  recipe: {{width: 1}}\n"
    found = lines_and_messages(tmp_path, *(broken.format(name) for name in "abc"))
    assert [line for line, _ in found] == [5, 5, 5]


def test_attributes_alone_are_a_file_too(tmp_path: Path) -> None:
    assert lines_and_messages(tmp_path, "name: a\nprompts:\n  table: p.csv\n") == []
    assert lines_and_messages(tmp_path, "name: a\nprompts:\n  table: 3\n")[0][0] == 3


@pytest.mark.parametrize(
    ("declared", "line", "message"),
    [
        ("recipe:\n  references: ['ftp://x/a']", 4, "recipe.references: got ['ftp://x/a'], allowed is a path"),
        ("recipe:\n  references: [a, b, c, d, e, f, g]", 4, "0–6 image references; the cell names 7"),
        ("recipe:\n  quantity: 3\n  seed: 2147483637", 5, "allowed is 2147483636 or less with 3 images a prompt"),
        ("size_policy: provider\nrecipe:\n  width: 512", 5, "recipe.width: 512x1024 has 524288 pixels; the provider"),
        ("size_policy: provider\nrecipe:\n  height: 512", 5, "recipe.height: 1024x512 has 524288 pixels"),
    ],
)
def test_what_is_wrong_whatever_the_table_holds_is_an_error_of_the_recipe(tmp_path: Path, declared, line, message):
    found = lines_and_messages(tmp_path, f"name: a\nprompts: {{table: p.csv}}\n{declared}\n")
    assert [at for at, _ in found] == [line]
    assert message in found[0][1]


def test_a_size_that_the_provider_does_not_serve_well_is_no_error_where_it_is_only_noted(tmp_path: Path) -> None:
    assert lines_and_messages(tmp_path, "name: a\nprompts: {table: p.csv}\nrecipe: {width: 512}\n") == []


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ prompt | no_such_filter }}", "line 1: No filter named 'no_such_filter'"),
        ("{{ prompt is no_such_test }}", "line 1: No test named 'no_such_test'"),
        ("{{ [1, 2] | random }}", "line 1: No filter named 'random'"),
        ("{% for i in 'a' %}" * 40 + "x" + "{% endfor %}" * 40, "it cannot be compiled (SyntaxError"),
    ],
)
def test_a_template_that_cannot_be_compiled_is_an_error_at_its_line(tmp_path: Path, template, message) -> None:
    found = lines_and_messages(tmp_path, f'name: a\nprompts:\n  table: p.csv\n  template: "{template}"\n')
    assert [at for at, _ in found] == [4]
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("budget", "messages"),
    [
        ("none", ["budget: got 'none', allowed is a mapping or 'unlimited'"]),
        ("{max_credits: 3}", ["budget.max_credits: there is no such key here (did you mean 'max_credits_total'?)"]),
        ("{max_credits_per_run: -1}", ["budget.max_credits_per_run: got -1, allowed is 0 or more"]),
    ],
)
def test_of_several_shapes_only_the_one_that_was_meant_is_reported(
    tmp_path: Path, budget: str, messages: list[str]
) -> None:
    found = lines_and_messages(tmp_path, f"name: a\nprompts: {{table: p.csv}}\nbudget: {budget}\n")
    assert found == [(3, message) for message in messages]


def test_what_is_missing_is_told_where_it_would_stand(tmp_path: Path) -> None:
    ((line, message),) = lines_and_messages(
        tmp_path, "# first\ntype: seedream_assets.ImageDataset\nattributes:\n  name: a\n"
    )
    assert (line, message) == (3, "prompts: is missing")


def test_two_datasets_of_one_name_would_share_their_folder(tmp_path: Path) -> None:
    text = "name: a\nprompts: {table: p.csv}\n"
    ((_, message),) = lines_and_messages(tmp_path, text, text)
    assert "'a' is taken already" in message


def test_a_syntax_error_has_its_line_and_does_not_hide_other_files(tmp_path: Path) -> None:
    found = lines_and_messages(tmp_path, "name: a\nprompts: [\n", "name: b\nprompts: {}\n")
    assert [message.split(":")[0] for _, message in found] == ["not YAML", "prompts.table"]
    assert found[0][0] > 1


@pytest.mark.parametrize("text", ["", "---\n---\n", "type: other.Component\nattributes: {anything: 1}\n"])
def test_what_is_empty_or_somebody_elses_is_passed_over(tmp_path: Path, text: str) -> None:
    assert lines_and_messages(tmp_path, text) == []


@pytest.mark.parametrize("text", ["just words\n", "- a\n- list\n", "something: else\n"])
def test_what_is_no_dataset_is_told(tmp_path: Path, text: str) -> None:
    assert len(lines_and_messages(tmp_path, text)) == 1


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (error,) = check_yaml_files([tmp_path / "nothing.yaml"])[0]
    assert "cannot be read" in error.message


def test_a_file_longer_than_a_declaration_is_one_error_and_read_no_further(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("name: a\nprompts: {table: a.csv}\n# " + "x" * LARGEST_BYTES)
    assert [error.message for error in check_yaml_files([path])[0]] == [
        f"cannot be read: it has more than {LARGEST_BYTES} bytes, which is the most allowed"
    ]
    path.write_text("name: a\nprompts: {table: a.csv}\n# " + "x" * (LARGEST_BYTES - 40))
    assert check_yaml_files([path])[0] == []


def test_aliases_are_values_and_so_many_of_them_are_allowed(tmp_path: Path) -> None:
    assert lines_and_messages(tmp_path, "name: &n a\nprompts: {table: a.csv}\ndescription: *n\n") == []
    (line, message), *_ = lines_and_messages(tmp_path, f"name: a\nx: [{'a, ' * MOST_VALUES}a]\n")
    assert (line, message) == (1, f"not YAML: more than {MOST_VALUES} values, with what its aliases stand for")


def test_variables_of_the_projects_own_are_not_called_errors(tmp_path: Path) -> None:
    text = (
        "type: seedream_assets.ImageDataset\ntemplate_vars_module: .vars\n"
        'attributes:\n  name: a\n  prompts: {table: p.csv}\n  description: "{{ ours }}"\n'
    )
    assert lines_and_messages(tmp_path, text) == []


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ("{by: weekly}", "partitions: weekly needs a first week"),
        ('{by: daily, column: day, start: "1.11.2026"}', "partitions.start: got '1.11.2026', allowed is a day"),
        ('{by: daily, column: day, start: "2026-11-01", timezone: Berlin}', "partitions.timezone: got 'Berlin'"),
        ('{by: hourly, column: at, start: "2026-11-01", timezone: Asia/Tokyo}', "allowed is UTC for hourly"),
        (
            '{by: weekly, column: day, start: "2026-11-01", day_offset: 7}',
            "partitions.day_offset: got 7, allowed is 0 to 6",
        ),
        ('{by: daily, column: day, start: "2026-11-01", day_offset: 1}', "partitions.day_offset: daily takes none"),
        ('{by: daily, column: day, start: "2026-11-01", format: "%Y-%m"}', "distinguishes every day"),
        ("{by: column, column: colour, end_offset: 1}", "partitions.end_offset: by column takes none"),
        ("{by: column, column: colour, backfill: parallel}", "partitions.backfill: got 'parallel'"),
    ],
)
def test_partitions_that_cannot_be_are_told_at_their_line(tmp_path: Path, partitions: str, message: str) -> None:
    text = f"name: shoes\nprompts: {{table: prompts.csv}}\npartitions: {partitions}\n"
    found = lines_and_messages(tmp_path, text)
    assert {line for line, _ in found} == {3}
    assert any(message in one for _, one in found)


EXPORTS = """\
type: seedream_assets.ImageDataset
attributes:
  name: a
  prompts: {table: p.csv}
  exports:
    - imagefolder
    - hdf5
    - webdataset:
        shard_bytes: 0
    - {parquet: {shards: 3}}
    - 7
  card: {version: "1", licence: MIT}
"""


def test_every_wrong_export_is_told_at_its_own_line(tmp_path: Path) -> None:
    assert [(line, message.split(";")[0]) for line, message in lines_and_messages(tmp_path, EXPORTS)] == [
        (7, "exports.1.name: there is no format 'hdf5'"),
        (8, "exports.2.shard_bytes: got 0, allowed is 1 or more"),
        (10, "exports.3.shards: there is no such key here (did you mean 'shard_bytes'?)"),
        (
            11,
            "exports.4: got 7, allowed is a format's name, or one name with its options, as in {webdataset: {shard_bytes: 500000000}}",
        ),
        (12, "card.licence: there is no such key here (did you mean 'license'?)"),
        (12, "card.version: got '1', allowed is MAJOR.MINOR.PATCH, as in 1.0.0"),
    ]


def test_two_wrong_exports_of_one_format_are_both_told(tmp_path: Path) -> None:
    text = "name: a\nprompts: {table: p.csv}\nexports:\n- parquet: {a: 1}\n- parquet: {b: 1}\n"
    assert [line for line, _ in lines_and_messages(tmp_path, text)] == [4, 5]


def test_a_format_that_is_named_twice_is_refused_at_its_second_line(tmp_path: Path) -> None:
    text = "name: a\nprompts: {table: p.csv}\nexports:\n- imagefolder\n- imagefolder\n"
    ((line, message),) = lines_and_messages(tmp_path, text)
    assert (line, "imagefolder is named twice" in message) == (5, True)


@pytest.mark.parametrize(
    "template", ["{{ 9 ** (9 ** (9 ** 9)) }}", "{{ 'x' * 10 ** 10 }}", "{{ 'x' | center(10 ** 10) }}"]
)
def test_what_a_template_asks_for_is_not_worked_out_to_check_it(tmp_path: Path, template: str) -> None:
    assert lines_and_messages(tmp_path, f'name: a\nprompts:\n  table: p.csv\n  template: "{template}"\n') == []


QUALITY = """\
name: a
prompts: {table: p.csv}
quality:
  near_duplicates: {max_distance: 65, severity: loud}
  exact_duplicates:
    max_share: 2
  blank:
    min_contrast: dark
    reject: perhaps
  withheld: {min_images: 0}
  nsfw:
    severity: ignore
    reject: true
  focus: {}
  scorers:
    - {function: sharpness}
    - function: team.scoring:sharpness
      min: 0.9
      max: 0.1
    - {min: 3}
regenerate: {max_rounds: 99}
"""


def test_every_field_of_the_quality_checks_is_checked_at_its_line(tmp_path: Path) -> None:
    assert lines_and_messages(tmp_path, QUALITY) == [
        (4, "quality.near_duplicates.max_distance: got 65, allowed is at most 32"),
        (4, "quality.near_duplicates.severity: got 'loud', allowed is 'error', 'warn' or 'ignore'"),
        (6, "quality.exact_duplicates.max_share: got 2, allowed is at most 1.0"),
        (8, "quality.blank.min_contrast: got 'dark', allowed is a number"),
        (9, "quality.blank.reject: got 'perhaps', allowed is true or false"),
        (10, "quality.withheld.min_images: got 0, allowed is 1 or more"),
        (12, "quality.nsfw.severity: ignore makes no check, so nothing can be rejected; say warn, or drop reject"),
        (14, "quality.focus: there is no such key here"),
        (
            16,
            "quality.scorers.0.function: got 'sharpness', allowed is package.module:function, importable where the run is",
        ),
        (18, "quality.scorers.1.min: got 0.9, allowed is at most max, 0.1"),
        (20, "quality.scorers.2.function: is missing"),
        (21, "regenerate.max_rounds: got 99, allowed is at most 10"),
    ]


def test_quality_may_be_empty_and_two_scorers_may_not_share_a_name(tmp_path: Path) -> None:
    whole = "name: a\nprompts: {table: p.csv}\nquality: {}\n"
    assert lines_and_messages(tmp_path, whole) == []
    twice = "name: a\nprompts: {table: p.csv}\nquality:\n  scorers: [{function: 'a:f'}, {function: 'b:f'}]\n"
    ((line, message),) = lines_and_messages(tmp_path, twice)
    assert (line, "two functions are named f" in message) == (4, True)
