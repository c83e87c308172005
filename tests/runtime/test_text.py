from framecast.runtime.text import aligned, are, counted


def test_numbers_agree_with_their_nouns():
    assert [counted(number, "step") for number in (0, 1, 1.0, 1.5, 1200)] == [
        "0 steps", "1 step", "1 step", "1.5 steps", "1,200 steps",
    ]  # fmt: skip
    assert [are(number, "frame") for number in (1, 2)] == ["1 frame is", "2 frames are"]


def test_columns_are_as_wide_as_their_longest_text():
    assert aligned([("layer", "count"), ("conv2d_1", "9")], right={1}) == [
        "layer     count",
        "conv2d_1      9",
    ]
