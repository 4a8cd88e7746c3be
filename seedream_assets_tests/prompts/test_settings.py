"""Claims about settings as distinct readings: a row has the one that it was given, whichever model read it."""

import numpy as np

from seedream_assets.prompts.settings import Setting

NOTHING = np.array([""], dtype=object)


def words(*texts: str, codes: list[int]) -> Setting:
    return Setting(np.array(texts, dtype=object), np.array(codes, dtype=np.int64))


def test_settings_of_some_rows_each_are_gathered_into_one_of_all():
    first, second = words("ON", "OFF", codes=[1, 0]), words("OFF", codes=[0])
    gathered = Setting.gathered(4, [(np.array([0, 3]), first), (np.array([2]), second)], NOTHING)
    assert gathered.of_rows().tolist() == ["OFF", "", "OFF", "ON"]
    assert gathered.take(np.array([0, 3])).of_rows().tolist() == ["OFF", "ON"]


def test_a_setting_of_all_rows_is_taken_as_it_is():
    whole = words("ON", codes=[0, 0])
    assert Setting.gathered(2, [(np.array([0, 1]), whole)], NOTHING) is whole


def test_rows_that_no_model_read_have_nothing():
    assert Setting.gathered(2, [], NOTHING).of_rows().tolist() == ["", ""]
