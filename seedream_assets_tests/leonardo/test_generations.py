"""Claims about what the paid API reports: which of the images asked for each delivered image is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.leonardo.generations import GeneratedImage, GenerationStatus, order_images


def make_image(name: str, number: int = 0) -> GeneratedImage:
    return GeneratedImage(id=f"image-{number}", url=f"https://cdn.example/users/u/generations/g/{name}", nsfw=False)


def make_images(*names: str) -> tuple[GeneratedImage, ...]:
    return tuple(make_image(name, number) for number, name in enumerate(names))


def ordered(names: tuple[str, ...], count: int) -> dict[int, str]:
    return {
        position: image.url.rsplit("/", 1)[1] for position, image in order_images(make_images(*names), count).items()
    }


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("Seedream_a_red_chair-0.jpg", 0),
        ("a-12.png", 12),
        ("a-3.jpg?token=b-4.jpg", 3),
        ("a-3-5.jpeg", 5),
        ("a.jpg", None),
        ("a-x.jpg", None),
        ("a-100.jpg", None),
        ("a-1", None),
        ("a-1.jpg/", None),
    ],
)
def test_the_index_stands_at_the_end_of_the_file_name(name, index):
    assert make_image(name).index_in_name == index


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        ((), 2, {}),
        (("a-0.jpg", "a-1.jpg"), 2, {0: "a-0.jpg", 1: "a-1.jpg"}),
        (("a-1.jpg", "a-0.jpg"), 2, {0: "a-0.jpg", 1: "a-1.jpg"}),
        (("a-2.jpg",), 3, {2: "a-2.jpg"}),
        (("a-3.jpg", "a-1.jpg"), 4, {1: "a-1.jpg", 3: "a-3.jpg"}),
        (("b.jpg", "a.jpg"), 2, {0: "b.jpg", 1: "a.jpg"}),
        (("b.jpg", "a-0.jpg"), 2, {0: "b.jpg", 1: "a-0.jpg"}),
        (("a-1.jpg", "b-1.jpg"), 2, {0: "a-1.jpg", 1: "b-1.jpg"}),
        (("a-1.jpg", "a-2.jpg"), 2, {0: "a-1.jpg", 1: "a-2.jpg"}),
        (("a-0.jpg", "a-1.jpg", "a-2.jpg"), 2, {0: "a-0.jpg", 1: "a-1.jpg"}),
    ],
)
def test_the_file_name_decides_where_it_can_and_the_order_of_the_list_elsewhere(names, count, expected):
    assert ordered(names, count) == expected
    assert list(ordered(names, count)) == sorted(expected)


@given(st.lists(st.sampled_from(["a-0.jpg", "b-1.jpg", "c-7.jpg", "d-8.jpg", "e.jpg"]), max_size=8), st.integers(1, 8))
def test_every_image_stands_at_one_position_and_none_is_lost_that_was_asked_for(names, count):
    images = make_images(*names)
    found = order_images(images, count)
    assert set(found) <= set(range(count))
    assert len({image.id for image in found.values()}) == len(found) == min(len(images), count)


def test_leonardo_knows_three_states_of_a_job():
    assert [status.value for status in GenerationStatus] == ["PENDING", "COMPLETE", "FAILED"]
