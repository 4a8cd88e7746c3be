"""`seedream check`: all errors of all files at once."""

from seedream_assets_tests.cli.conftest import Desk


def test_every_error_of_every_file_is_listed_with_its_line(desk: Desk) -> None:
    desk.write("broken.yaml", "name: 9lives\nprompts: {table: prompts.csv}\nrecipe:\n  width: 5\n  modell: x\n")
    desk.write("other.yaml", "name: other\nprompts: {}\n")
    result = desk.run("check", str(desk.folder))
    assert result.exit_code == 1
    for printed in ("broken.yaml:1:", "broken.yaml:4:", "broken.yaml:5:", "other.yaml:2:"):
        assert printed in result.stdout, result.stdout


def test_good_files_are_counted(desk: Desk) -> None:
    result = desk.run("check", str(desk.folder / "dataset.yaml"))
    assert result.exit_code == 0
    assert "1 YAML file, no errors" in result.stdout


def test_a_comment_is_a_comment_wherever_it_begins(desk: Desk) -> None:
    attributes = "".join(f"  {line}\n" for line in (desk.folder / "dataset.yaml").read_text().splitlines())
    comment = "# store: file:///nowhere\n# size_policy: provider\n# so much for comments\n"
    desk.write("defs.yaml", f"type: seedream_assets.ImageDataset\nattributes:\n{comment}{attributes}")
    assert desk.run("check", str(desk.folder / "defs.yaml")).exit_code == 0
    assert desk.run_json("run", str(desk.folder / "defs.yaml"))["stored"] == 3
    assert (desk.store / "images").exists()
