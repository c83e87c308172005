from framecast.runtime.text import aligned, are, counted, listed, show_bytes


def test_numbers_agree_with_their_nouns():
    assert [counted(number, "step") for number in (0, 1, 1.0, 1.5, 1200)] == [
        "0 steps", "1 step", "1 step", "1.5 steps", "1,200 steps",
    ]  # fmt: skip
    assert [are(number, "frame") for number in (1, 2)] == ["1 frame is", "2 frames are"]


def test_long_lists_are_cut():
    assert [listed("abcd"[:length], 2) for length in range(5)] == [
        "", "a", "a, b", "a, b and 1 more", "a, b and 2 more",
    ]  # fmt: skip


def test_bytes_are_in_the_largest_unit():
    assert [show_bytes(count) for count in (1, 7, 1000, 1500, 2.5e6, 3e9, 1.2345e12)] == [
        "1 byte", "7 bytes", "1.0 kB", "1.5 kB", "2.5 MB", "3.0 GB", "1,234.5 GB",
    ]  # fmt: skip


def test_columns_are_as_wide_as_their_longest_text():
    assert aligned([("layer", "count"), ("conv2d_1", "9")], right={1}) == [
        "layer     count",
        "conv2d_1      9",
    ]
