"""`seedream verify`, as a data team and its CI type it."""

from pathlib import Path

from seedream_assets_tests.cli.conftest import Desk


def dataset_of(desk: Desk) -> str:
    return str(desk.folder / "dataset.yaml")


def images_of(desk: Desk) -> list[Path]:
    return sorted((desk.store / "images").rglob("*.jpg"))


def test_what_was_just_bought_is_clean(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    printed = desk.run_json("verify", dataset_of(desk))
    assert (printed["clean"], printed["images"], printed["read"], printed["differences"]) == (True, 3, 0, [])
    result = desk.run("verify", dataset_of(desk), "--deep")
    assert (result.exit_code, "3 images compared, 3 read: no difference" in result.stdout) == (0, True)


def test_differences_are_listed_and_fail_a_ci_job(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    first, second, third = images_of(desk)
    first.unlink()
    second.write_bytes(second.read_bytes()[:100])
    (third.parent / "stray.txt").write_text("hello")
    printed = desk.run_json("verify", dataset_of(desk), exit_code=1)
    assert {name: printed[name] for name in ("missing", "extra", "torn", "wrong_size", "wrong_hash", "clean")} == {
        "missing": 1, "extra": 1, "torn": 1, "wrong_size": 0, "wrong_hash": 0, "clean": False,
    }  # fmt: skip
    assert {one["object_key"] for one in printed["differences"] if one["kind"] == "missing"} == {
        first.relative_to(desk.store).as_posix()
    }
    result = desk.run("verify", dataset_of(desk))
    assert result.exit_code == 1
    assert "1 missing, 1 extra, 1 torn" in result.stdout
    assert f"torn: {second.relative_to(desk.store).as_posix()}: has 100 bytes" in result.stdout


def test_only_deep_sees_other_bytes_of_the_same_length(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    image = images_of(desk)[0]
    body = bytearray(image.read_bytes())
    body[-1] ^= 1
    image.write_bytes(body)
    assert desk.run_json("verify", dataset_of(desk))["clean"]
    printed = desk.run_json("verify", dataset_of(desk), "--deep", exit_code=1)
    assert printed["wrong_hash"] + printed["torn"] == 1


def test_one_partition_is_compared_alone(desk: Desk) -> None:
    desk.write("prompts.csv", "prompt,day\na cup,2026-11-01\na mug,2026-11-02\n")
    daily = desk.write(
        "daily.yaml",
        (desk.folder / "dataset.yaml").read_text() + 'partitions: {by: daily, column: day, start: "2026-11-01"}\n',
    )
    for day in ("2026-11-01", "2026-11-02"):
        desk.run_json("run", str(daily), "--partition", day)
    assert desk.run_json("verify", str(daily))["manifests"] == 2
    for image in images_of(desk):
        image.unlink()
    printed = desk.run_json("verify", str(daily), "--partition", "2026-11-02", exit_code=1)
    assert (printed["partition"], printed["images"], printed["missing"]) == ("2026-11-02", 1, 1)
    assert desk.run_json("verify", str(daily), exit_code=1)["missing"] == 2


def test_what_cannot_be_verified_is_neither_clean_nor_different(desk: Desk) -> None:
    result = desk.run("verify", dataset_of(desk))
    assert result.exit_code == 2
    assert "tableware has no manifest" in result.stderr
    assert not desk.store.exists()


def test_what_is_broken_is_mended_and_nothing_is_bought(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    first, second, _ = images_of(desk)
    whole = second.read_bytes()
    first.unlink()
    second.write_bytes(whole[:100])
    (end, *_) = sorted((desk.store / "requests").rglob("00-completed.json"))
    end.write_bytes(b"")
    (desk.store / "datasets/tableware/manifest/all.parquet").write_bytes(b"PAR1 torn")
    before = desk.emulator.account.bill(details=False)["credits"]
    result = desk.run("verify", dataset_of(desk))
    assert result.exit_code == 1
    assert "torn: datasets/tableware/manifest/all.parquet" in result.stdout
    printed = desk.run_json("verify", dataset_of(desk), "--repair")
    assert printed["clean"]
    assert printed["not_mended"] == []
    assert len(printed["mended"]) >= 3
    assert second.read_bytes() == whole
    assert desk.run_json("verify", dataset_of(desk), "--deep")["images"] == 3
    assert desk.emulator.account.bill(details=False)["credits"] == before


def test_what_cannot_be_mended_is_told_and_fails_a_ci_job(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    images_of(desk)[0].unlink()
    for generation in desk.emulator.account.bill(details=True)["details"]:
        desk.emulator.account.delete(generation["generation_id"])
    printed = desk.run_json("verify", dataset_of(desk), "--repair", exit_code=1)
    assert (printed["missing"], printed["mended"], len(printed["not_mended"])) == (1, [], 1)
    assert "any more" in printed["not_mended"][0]
