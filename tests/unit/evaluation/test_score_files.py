"""Score files of every form hold the same comparisons; what is malformed is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aroface.errors import InputError
from aroface.evaluation.score_files import ScoreSet, ScoreSource, read_scores, with_common_comparisons
from aroface.omissions import Omissions

SCORES, SAME = [0.9, 0.1, 0.8, 0.25], [True, False, True, False]
LISTS = {
    "header.csv": "score,label\n0.9,genuine\n0.1,impostor\n0.8,genuine\n0.25,impostor\n",
    "order.csv": "label,other,SIMILARITY\nTrue,x,0.9\nFalse,y,0.1\nTrue,x,0.8\nFalse,,0.25\n",
    "quoted.csv": '"score","same"\n"0.9","1"\n"0.1","0"\n"0.8","1"\n"0.25","0"\n',
    "spaces.txt": "0.9 1\n0.1 0\n\n0.8 1\n0.25 0\n",
    "label-first.tsv": "genuine\t0.9\nimpostor\t0.1\ngenuine\t0.8\nimpostor\t0.25\n",
    "people.csv": "id1,id2,score\nann,ann,0.9\nann,bob,0.1\nbob,bob,0.8\ncy,ann,0.25\n",
    "bob.txt": "ann ann ann_1 0.9\nann bob bob_1 0.1\nbob bob bob_2 0.8\ncy ann ann_2 0.25\n",
    "windows.csv": "score,label\r\n0.9,1\r\n0.1,0\r\n0.8,1\r\n0.25,0\r\n",
}
BAD = {
    "kinds.csv": ("score,label\n0.9,1\n0.8,1\n", "all 2 comparisons are genuine ones"),
    "label.csv": ("score,label\n0.9,1\n0.8,perhaps\n", "line 3: label is 'perhaps'; expected genuine or impostor"),
    "number.csv": ("score,label\n0.9,1\nhigh,0\n", "line 3: score is 'high'; expected a number"),
    "contradiction.csv": ("id1,id2,label,score\na,a,0,0.9\na,b,0,0.1\n", "line 2: impostor, but of one person"),
    "nothing.csv": ("", "columns without names"),
    "columns.csv": ("0.1,0.2,0.3,0.4,0.5\n", "5 columns without names"),
    "unlabelled.csv": ("score\n0.1\n0.2\n", "--impostors"),
    "short.csv": ("score,label\n0.1,1\n0.2\n", "line 3: 1 columns"),
    "scores.json": ("{}", "a file .json"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_every_form(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(LISTS[name], newline="")
    found = read_scores(ScoreSource(tmp_path / name))
    assert found.scores.tolist() == SCORES
    assert found.same.tolist() == SAME
    assert (found.people is not None) == (name in ("people.csv", "bob.txt"))


@pytest.mark.parametrize("name", BAD)
def test_malformed_lists(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_scores(ScoreSource(tmp_path / name))
    assert message in str(caught.value)


def test_two_files(tmp_path: Path) -> None:
    (tmp_path / "genuine.txt").write_text("0.9\n0.8\n")
    np.save(tmp_path / "impostors.npy", np.array([0.1, 0.25]))
    found = read_scores(ScoreSource(tmp_path / "genuine.txt", tmp_path / "impostors.npy"))
    assert (found.scores.tolist(), found.same.tolist()) == ([0.9, 0.8, 0.1, 0.25], [True, True, False, False])


def test_distances_are_negated(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("distance,label\n0.1,1\n0.9,0\n")
    (tmp_path / "b.csv").write_text("score,label\n0.1,1\n0.9,0\n")
    by_name, by_option = (
        read_scores(source) for source in (ScoreSource(tmp_path / "a.csv"),
                                           ScoreSource(tmp_path / "b.csv", is_distance=True))
    )  # fmt: skip
    assert by_name.scores.tolist() == by_option.scores.tolist() == [-0.1, -0.9]


def test_matrix_of_probes_and_references(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.4]])
    np.save(tmp_path / "m.npy", scores)
    (tmp_path / "rows.txt").write_text("ann\nbob\ncy\n")
    (tmp_path / "columns.txt").write_text("ann\nbob\n")
    source = ScoreSource(tmp_path / "m.npy", rows=tmp_path / "rows.txt", columns=tmp_path / "columns.txt")
    found = read_scores(source)
    np.savez(tmp_path / "m.npz", scores=scores, rows=np.array(["ann", "bob", "cy"]), columns=np.array(["ann", "bob"]))
    for each in (found, read_scores(ScoreSource(tmp_path / "m.npz"))):
        assert each.same.tolist() == [True, False, False, True, False, False]
        assert each.probes is not None and each.probes.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_symmetric_matrix_counts_each_two_images_once(tmp_path: Path) -> None:
    scores = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
    np.savez(tmp_path / "m.npz", scores=scores, rows=np.array([5, 5, 7]))
    found = read_scores(ScoreSource(tmp_path / "m.npz"))
    assert len(found) == 6
    assert found.once is not None and sorted(found.scores[found.once]) == [0.1, 0.2, 0.9]


@pytest.mark.parametrize(
    "arrays",
    [
        {"scores": np.arange(4.0), "same": np.array([1, 0, 1, 0]), "people": np.arange(7)},
        {"scores": np.eye(3), "same": np.ones(3)},
        {"scores": np.ones((2, 3)), "rows": np.arange(2)},
        {"scores": np.ones((2, 2), complex), "rows": np.arange(2)},
        {"other": np.ones(2)},
    ],
)
def test_malformed_archives(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(InputError, match=r"m\.npz: .*; expected "):
        read_scores(ScoreSource(tmp_path / "m.npz"))


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "rows.txt").write_text("a\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(ScoreSource(tmp_path / "m.npy", rows=tmp_path / "rows.txt"))


def test_systems_are_matched_by_their_images(tmp_path: Path) -> None:
    head = "image1,image2,score,label\n"
    (tmp_path / "a.csv").write_text(f"{head}x,y,0.9,1\nx,z,0.1,0\ny,z,0.2,0\n")
    (tmp_path / "b.csv").write_text(f"{head}x,z,0.3,0\nx,y,0.7,1\nv,w,0.5,0\n")
    omissions = Omissions()
    sets = {name: read_scores(ScoreSource(tmp_path / f"{name}.csv")) for name in "ab"}
    found = with_common_comparisons(sets, omissions)
    assert [found[name].scores.tolist() for name in "ab"] == [[0.9, 0.1], [0.7, 0.3]]
    assert len(omissions) == 2


def test_what_one_file_tells_holds_for_all() -> None:
    same, people = np.array([True, False]), np.array([[0, 0], [0, 1]])
    sets = {"a": ScoreSet(np.array([1.0, 0.0]), same), "b": ScoreSet(np.array([0.9, 0.2]), same, people, people[:, 0])}
    found = with_common_comparisons(sets, Omissions())["a"]
    assert found.people is people
    assert found.probes is not None


def test_a_comparison_without_a_score_is_left_out_of_all() -> None:
    same = np.array([True, True, False])
    sets = {"a": ScoreSet(np.array([1, np.nan, 0]), same), "b": ScoreSet(np.array([1.0, 1.0, 0.0]), same)}
    omissions = Omissions()
    found = with_common_comparisons(sets, omissions)
    assert [len(each) for each in found.values()] == [2, 2]
    assert omissions.counted == 1


def test_other_comparisons_are_refused() -> None:
    sets = {name: ScoreSet(np.arange(3.0), np.array(same)) for name, same in
            {"a": [True, False, True], "b": [True, True, False]}.items()}  # fmt: skip
    with pytest.raises(InputError, match="the comparisons of b are others than those of a"):
        with_common_comparisons(sets, Omissions())
