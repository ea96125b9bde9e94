from __future__ import annotations

from pathlib import Path

import pytest

from aroface.datasets.preparation.pair_lists import ListedPair, read_pair_list
from aroface.errors import InputError

ROWS = [("a/1.jpg", "a/2.jpg", True), ("a/1.jpg", "b b/1.png", False)]


def written(folder: Path, name: str, text: str) -> list[ListedPair]:
    (folder / name).write_bytes(text.encode())
    return read_pair_list(folder / name, folder)


@pytest.mark.parametrize(
    ("name", "text"),
    {
        "comma and header": ("p.csv", "image1,image2,same\na/1.jpg,a/2.jpg,1\na/1.jpg,b b/1.png,0\n"),
        "other order": ("p.csv", "Label;Path2;Path1\ngenuine;a/2.jpg;a/1.jpg\nimpostor;b b/1.png;a/1.jpg\n"),
        "tabs, no header": ("p.tsv", "a/1.jpg\ta/2.jpg\tsame\na/1.jpg\tb b/1.png\tdifferent\n"),
        "CRLF, BOM, gaps": (
            "p.csv",
            "\ufeffimage1,image2,same\r\n\r\na/1.jpg , a/2.jpg,TRUE\r\na/1.jpg,./b b/1.png,0\r\n",
        ),
        "quoted": ("p.csv", 'a/1.jpg,"a/2.jpg",true\na/1.jpg,"b b/1.png",false\n'),
        "more columns": ("p.csv", "x,image1,image2,same\n9,a/1.jpg,a/2.jpg,yes\n9,a/1.jpg,b b/1.png,no\n"),
    }.values(),
)
def test_tables_of_many_forms_are_one_list(tmp_path: Path, name: str, text: str):
    pairs = written(tmp_path, name, text)
    found = [(str(p.first.relative_to(tmp_path)), str(p.second.relative_to(tmp_path)), p.same) for p in pairs]
    assert found == ROWS
    assert all(pair.fold is None and pair.people is None for pair in pairs)


def test_blanks_separate_where_nothing_else_does(tmp_path: Path):
    (pair, other) = written(tmp_path, "p.txt", "a/1.jpg a/2.jpg 1\na/1.jpg  b/1.jpg  -1\n")
    assert (pair.same, other.same, other.second) == (True, False, tmp_path / "b/1.jpg")


def test_folds_and_people_are_taken(tmp_path: Path):
    (pair,) = written(tmp_path, "p.csv", "fold,image1,image2,same,id1,id2\n7,1.jpg,2.jpg,0,ann,bob\n")
    assert (pair.fold, pair.people, pair.line) == ("7", ("ann", "bob"), 2)


def test_lists_without_a_header_have_the_folds_of_their_order(tmp_path: Path):
    lines = [line for n in range(10) for line in (f"m.{n:02}\t1\t2", f"m.{n:02}\t1\tm.x\t0003")]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    pairs = read_pair_list(tmp_path / "pairs.txt", tmp_path)
    assert [pair.fold for pair in pairs] == [str(n + 1) for n in range(10) for _ in range(2)]
    assert pairs[3].people == ("m.01", "m.x") and pairs[3].second == tmp_path / "m.x" / "m.x_0003.jpg"
    assert [pair.same for pair in pairs[:2]] == [True, False]
    (tmp_path / "pairs.txt").write_text("\n".join([*lines[1:], lines[0]]))
    assert read_pair_list(tmp_path / "pairs.txt", tmp_path)[0].fold == "1"
    (tmp_path / "pairs.txt").write_text("\n".join(lines[:-1]))
    assert {pair.fold for pair in read_pair_list(tmp_path / "pairs.txt", tmp_path)} == {None}


def test_lfw_lists_name_people_numbers_and_folds(tmp_path: Path):
    (tmp_path / "Ann_B").mkdir()
    (tmp_path / "Ann_B" / "Ann_B_0001.png").touch()
    text = "2\t1\nAnn_B\t1\t4\nAnn_B\t1\tBob\t12\nBob\t1\t2\nBob\t1\tEve\t3\n"
    pairs = written(tmp_path, "pairs.txt", text)
    assert [pair.fold for pair in pairs] == ["1", "1", "2", "2"]
    assert [pair.same for pair in pairs] == [True, False, True, False]
    assert pairs[1].people == ("Ann_B", "Bob")
    assert pairs[1].first == tmp_path / "Ann_B" / "Ann_B_0001.png"
    assert pairs[1].second == tmp_path / "Bob" / "Bob_0012.jpg"
    assert [pair.fold for pair in written(tmp_path, "dev.txt", "1\nBob 1 2\nBob 1 Eve 3\n")] == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty; expected a table with the columns image1, image2 and same"),
        ("image1,image2,same\n", "the list holds no pair"),
        ("a,b\n", "the first line is 'a b'; expected a table"),
        ("image1,image2,same\na,b,1\na,b\n", "line 3: 2 columns; expected 3 or more"),
        ("image1,image2,same\na,,1\n", "line 2: nothing in column 2"),
        ("image1,image2,same\na,b,perhaps\n", "line 2: the label 'perhaps'; expected same or different"),
        ("image1,image2,same,id1\na,b,1,x\n", "line 1: the people of one side only; expected person1 and person2"),
        ("image1,image2,same,id1,id2\na,b,1,x,y\n", "line 2: a genuine pair of 'x' and 'y'; correct the label"),
        ("image1,image2,same,id1,id2\na,b,0,x,x\n", "line 2: a different pair of 'x' and 'x'; correct the label"),
        ('image1,image2,same\n"a,b,1\n', "cannot be read"),
        ("10 300\nAnn 1 2\n", "1 pairs; expected 6,000, as its first line says"),
        ("1 1\nAnn 1 2\nAnn one Bob 2\n", "line 3: a line 'Ann one Bob 2'; expected NAME 1 4, or NAME 1 OTHER 2"),
    ],
)
def test_malformed_lists_name_the_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError) as error:
        written(tmp_path, "p.csv", text)
    assert message in str(error.value)
    assert str(error.value).isprintable()
