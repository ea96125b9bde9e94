"""Every format, written and read again; and damaged files of each: read all the same, or refused in one line."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aroface.datasets.formats import ijb, ijbs
from aroface.datasets.formats.ijb import read_ijb, write_ijb
from aroface.datasets.formats.ijbs import read_ijbs, write_ijbs
from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.formats.tinyface import GALLERY_LIST, PROBE_LIST, read_tinyface, write_tinyface
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.images import encode_jpeg, read_image
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from decoded import decode_images

MAGIC, JPEG, PNG = bytes.fromhex("0a23d7ce"), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
LATE = 5000  # milliseconds after which an example counts as one that hangs

contents = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=5).map(b"".join)
jpegs = contents.map(lambda content: JPEG + content)
numbers = st.integers(0, 2**40)
float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
slow = settings(max_examples=25, deadline=LATE, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True, scope="module")
def hurry() -> Iterator[None]:
    """Do not wait for the disk: nothing here is to survive a crash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[], Path]:
    """A fresh folder for each example."""
    count = itertools.count()
    return lambda: tmp_path / str(next(count))


@slow
@given(st.lists(st.tuples(st.sampled_from([JPEG, PNG]), contents, jpegs, st.booleans()), min_size=1, max_size=6))
def test_pairs_come_back(folders: Callable[[], Path], pairs: list[tuple[bytes, bytes, bytes, bool]]):
    path = folders().with_suffix(".bin")
    images = [image for start, content, other, _ in pairs for image in (start + content, other)]
    write_pairs(path, Pairs(images, np.array([same for *_, same in pairs])))
    found = read_pairs(path)
    assert found.images == images
    assert found.same.tolist() == [same for *_, same in pairs]


@slow
@given(st.lists(st.lists(jpegs, max_size=4), min_size=1, max_size=5).filter(any))
def test_a_training_set_comes_back(folders: Callable[[], Path], people: list[list[bytes]]):
    items = [(label, jpeg) for label, images in enumerate(people) for jpeg in images]
    folder = folders()
    write_training_set(folder, items, len(people))
    found = TrainingSet.open(folder)
    assert found.num_classes == len(people)
    assert [(label, found.jpeg(place)) for place, label in enumerate(found.labels.tolist())] == items


@slow
@given(st.data())
def test_a_tinyface_tree_comes_back(folders: Callable[[], Path], data: st.DataObject):
    gallery = data.draw(st.lists(st.tuples(numbers, contents), min_size=1, max_size=5))
    known = st.sampled_from([identity for identity, _ in gallery])
    probes = data.draw(st.lists(st.tuples(known, contents), min_size=1, max_size=5))
    distractors = data.draw(st.lists(contents, max_size=12))
    folder = folders()
    write_tinyface(folder, gallery, probes, distractors)
    found = read_tinyface(folder)
    for paths, labels, written in (
        (found.gallery, found.gallery_labels, gallery),
        (found.probes, found.probe_labels, probes),
    ):
        assert [(label, path.read_bytes()) for path, label in zip(paths, labels.tolist(), strict=True)] == written
    assert sorted(path.read_bytes() for path in found.distractors) == sorted(distractors)


@st.composite
def ijb_faces(draw: st.DrawFn) -> ijb.IJBFace:
    landmarks = draw(st.lists(float32, min_size=10, max_size=10))
    return ijb.IJBFace(draw(numbers), draw(numbers), draw(contents), np.reshape(landmarks, (5, 2)), draw(float32))


@st.composite
def some_templates(draw: st.DrawFn, ids: list[int]) -> ijb.TemplateTable:
    chosen = sorted(draw(st.sets(st.sampled_from(ids), min_size=1)))
    return ijb.TemplateTable(
        np.array(chosen), np.array(draw(st.lists(numbers, min_size=len(chosen), max_size=len(chosen))))
    )


@slow
@given(st.data(), st.sampled_from(sorted(ijb.GALLERIES)))
def test_an_ijb_tree_comes_back(folders: Callable[[], Path], data: st.DataObject, benchmark: str):
    faces = data.draw(st.lists(ijb_faces(), min_size=1, max_size=5))
    ids = sorted({face.template for face in faces})
    template = st.sampled_from(ids)
    pairs = data.draw(st.lists(st.tuples(template, template, st.booleans()), min_size=1, max_size=5))
    parts = {name: data.draw(some_templates(ids)) for name in ijb.GALLERIES[benchmark]}
    search = data.draw(st.sampled_from([None, ijb.IdentificationProtocol(parts, data.draw(some_templates(ids)))]))
    folder = folders()
    templates, same = np.array([pair[:2] for pair in pairs]), np.array([pair[2] for pair in pairs])
    write_ijb(folder, benchmark, faces, templates, same, search)
    found = read_ijb(folder)
    assert found.faces.benchmark == benchmark
    assert found.faces.templates.tolist() == [face.template for face in faces]
    assert found.faces.media.tolist() == [face.medium for face in faces]
    assert np.array_equal(found.faces.landmarks, np.array([face.landmarks for face in faces], np.float32))
    assert np.array_equal(found.faces.scores, np.array([face.score for face in faces], np.float32))
    assert [found.faces.path(place).read_bytes() for place in range(len(faces))] == [face.jpeg for face in faces]
    assert np.array_equal(found.pairs, templates)
    assert np.array_equal(found.same, same)
    assert (found.search is None) == (search is None)
    if search is not None:
        written, read = ([*each.galleries.values(), each.probes] for each in (search, found.search))
        for one, other in zip(written, read, strict=True):
            assert np.array_equal(one.ids, other.ids)
            assert np.array_equal(one.subjects, other.subjects)


videos = st.integers(0, 9).map("videos_{}".format)
stills = st.integers(0, 9).map("img_{}".format)
subjects = st.integers(0, 12)


@slow
@given(st.data())
def test_an_ijbs_tree_comes_back(folders: Callable[[], Path], data: st.DataObject):
    filmed = data.draw(st.dictionaries(st.tuples(subjects, videos), st.sets(numbers, max_size=3), min_size=1))
    shown = data.draw(st.sets(st.tuples(subjects, stills), min_size=1))
    faces = [ijbs.IJBSFace(*medium, frame, b"%d" % frame) for medium, frames in filmed.items() for frame in frames]
    faces += [ijbs.IJBSFace(*medium, None, medium[1].encode()) for medium in shown]

    def part(templates: st.SearchStrategy[ijbs.Template]) -> list[ijbs.Template]:
        chosen = data.draw(st.lists(templates, min_size=1, max_size=4, unique_by=lambda template: template.subject))
        return sorted(chosen)

    single = st.sampled_from(sorted(shown)).map(lambda medium: ijbs.Template(medium[0], (medium[1],)))
    video = st.sampled_from(sorted(filmed)).map(lambda medium: ijbs.Template(medium[0], (medium[1],)))
    several = st.sets(stills, min_size=1, max_size=3).map(sorted).map(tuple)
    booking = st.builds(ijbs.Template, subjects, several)
    sources = {"single": single, "booking": booking, "surveillance": video}
    galleries = {kind: (part(source), part(source)) for kind, source in sources.items()}
    stems = st.sampled_from(sorted({stem for _, stem in filmed}))
    probes = {kind: data.draw(st.lists(stems, min_size=1, max_size=3, unique=True)) for kind in ijbs.PROBES}
    folder = folders()
    write_ijbs(folder, data.draw(st.permutations(faces)), [*filmed, *shown], galleries, probes)

    found = read_ijbs(folder)
    assert found.galleries == galleries
    for kind, wanted in probes.items():
        who = {(template.subject, *template.media) for template in found.probes[kind]}
        assert who == {medium for medium in filmed if medium[1] in wanted}
        assert found.probes[kind] == sorted(found.probes[kind])
    for template in found.templates:
        expected = sum(face.subject == template.subject and face.medium in template.media for face in faces)
        assert found.count(template) == expected
    for medium in found.media:
        frames = [b"%d" % frame for frame in sorted(filmed[medium])] if medium in filmed else [medium[1].encode()]
        assert [path.read_bytes() for path in found.files(medium)] == frames


def jpeg(shade: int) -> bytes:
    return encode_jpeg(np.full((16, 16, 3), shade, np.uint8), 50)


def write_training(folder: Path) -> None:
    write_training_set(folder, [(number // 3, jpeg(number)) for number in range(9)], 3)


def read_training(folder: Path) -> None:
    found = TrainingSet.open(folder)
    for position in range(len(found)):
        assert found.jpeg(position).startswith(JPEG)
    assert found.labels.max() < found.num_classes


def write_bin(folder: Path) -> None:
    write_pairs(folder / "pairs.bin", Pairs([jpeg(number) for number in range(8)], np.array([True, False] * 2)))


def read_bin(folder: Path) -> None:
    decode_images(read_pairs(folder / "pairs.bin").images, 16)


def write_tiny(folder: Path) -> None:
    write_tinyface(folder, [(1, jpeg(1)), (2, jpeg(2))], [(1, jpeg(3))], [jpeg(4)])


def read_tiny(folder: Path) -> None:
    found = read_tinyface(folder)
    for path in (*found.gallery, *found.probes, *found.distractors):
        read_image(path)
    assert np.isin(found.probe_labels, found.gallery_labels).all()


def write_templates(folder: Path) -> None:
    faces = [
        ijb.IJBFace(1 + number // 2, number, jpeg(number), TEMPLATE * (1 + number / 9), 0.9) for number in range(6)
    ]
    one, two, three = (ijb.TemplateTable(np.array([number]), np.array([number])) for number in (1, 2, 3))
    search = ijb.IdentificationProtocol({"G1": one, "G2": two}, three)
    write_ijb(folder, "ijbc", faces, np.array([[1, 2], [2, 3], [1, 1]]), np.array([False, False, True]), search)


def read_templates(folder: Path) -> None:
    found = read_ijb(folder)
    for position in range(len(found.faces)):
        assert found.faces.crop(position).shape == (112, 112, 3)
    parts = [] if found.search is None else [*found.search.galleries.values(), found.search.probes]
    for ids in (found.pairs, *(part.ids for part in parts)):
        assert np.isin(ids, found.faces.templates).all()
    assert np.isfinite(found.faces.landmarks).all()
    assert np.isfinite(found.faces.scores).all()
    assert len(found.pairs) == len(found.same) > 0


def write_surveillance(folder: Path) -> None:
    media = [(1, "img_1"), (2, "img_2"), (1, "videos_1"), (2, "videos_1"), (3, "videos_1"), (1, "videos_2")]
    faces = [ijbs.IJBSFace(*medium, 7 if "v" in medium[1] else None, jpeg(n)) for n, medium in enumerate(media)]
    one, two = (([ijbs.Template(number, (f"img_{number}",))]) for number in (1, 2))
    filmed = ([ijbs.Template(1, ("videos_1",))], [ijbs.Template(2, ("videos_1",))])
    galleries = {"single": (one, two), "booking": (one, two), "surveillance": filmed}
    write_ijbs(folder, faces, media, galleries, {kind: ["videos_1", "videos_2"] for kind in ijbs.PROBES})


def read_surveillance(folder: Path) -> None:
    found = read_ijbs(folder)
    for medium in found.media:
        for path in found.files(medium):
            read_image(path)
    assert all(both[0] and both[1] for both in found.galleries.values())
    assert all(found.probes.values())


@dataclass(frozen=True)
class Format:
    """Writes a small set into a folder, reads all of one, and has these files."""

    write: Callable[[Path], None]
    read: Callable[[Path], None]
    files: tuple[str, ...]


IJB_LISTS = (
    "face_tid_mid.txt",
    "name_5pts_score.txt",
    "template_pair_label.txt",
    "1N_gallery_G1.csv",
    "1N_probe_mixed.csv",
)
FORMATS = (
    Format(write_training, read_training, ("train.rec", "train.idx", "property")),
    Format(write_bin, read_bin, ("pairs.bin",)),
    Format(write_tiny, read_tiny, (GALLERY_LIST, PROBE_LIST, "tinyface/Testing_Set/Probe/1_1.jpg")),
    Format(write_templates, read_templates, (*(f"meta/ijbc_{name}" for name in IJB_LISTS), "loose_crop/1.jpg")),
    Format(
        write_surveillance,
        read_surveillance,
        (
            ijbs.METADATA,
            ijbs.PROBES["uav"],
            ijbs.GALLERIES["single"][0],
            ijbs.GALLERIES["booking"][0],
            ijbs.GALLERIES["surveillance"][0],
            "faces/1/img_1.jpg",
        ),
    ),
)
CASES = {name: form for form in FORMATS for name in form.files}


def whole(root: Path) -> dict[str, bytes]:
    """The whole files of all formats."""
    found = {}
    for form in FORMATS:
        folder = root / form.files[0].replace("/", "-")
        form.write(folder)
        found |= {name: (folder / name).read_bytes() for name in form.files}
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(tmp_path_factory.mktemp("whole"))


def written(form: Format, folder: Path) -> None:
    """Let a whole set lie in a folder, but for the file that the caller writes next."""
    if not folder.exists():
        form.write(folder)
    for note in folder.glob("*.npy"):  # what a training set remembers of its labels
        note.unlink()


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """Some bytes changed, bits flipped, a stretch taken out, put in or doubled, lines swapped, the end cut off."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(damaged) - 1))
        damaged[place] = draw(
            st.one_of(st.integers(0, 255), st.sampled_from([damaged[place] ^ 1 << n for n in range(8)]))
        )
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(damaged))] * 2)))
    match draw(st.sampled_from(["keep", "keep", "replace", "double", "swap"])):
        case "replace":
            damaged[begin : draw(st.sampled_from([begin, begin + 4, end]))] = draw(
                st.one_of(
                    st.binary(max_size=8), st.sampled_from([b"\n", b"\n\n", b",", b" ", b"-1", b"1e99", b"\0", b"nan"])
                )
            )
        case "double":
            damaged[end:end] = damaged[begin:end]
        case "swap":
            damaged = bytearray(b"\n".join(draw(st.permutations(damaged.split(b"\n")[:20]))))
    return bytes(damaged[: draw(st.sampled_from([len(damaged), end]))])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=50, deadline=LATE, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_met_with_one_line(name: str, files: dict[str, bytes], tmp_path: Path, data: st.DataObject):
    form, folder = CASES[name], tmp_path / "set"
    written(form, folder)
    (folder / name).write_bytes(data.draw(damage(files[name])))

    try:
        form.read(folder)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(error)


@settings(max_examples=100, deadline=LATE, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_call_put_anywhere_into_a_pair_file_is_not_made(files: dict[str, bytes], tmp_path: Path, data: st.DataObject):
    made = tmp_path / "made"
    whole_file = files["pairs.bin"]
    call = b"cos\nmkdir\n(V%s\ntR" % str(made).encode() + data.draw(st.sampled_from([b"", b"0", b"."]))
    place = data.draw(st.one_of(st.integers(0, 30), st.integers(0, len(whole_file))))
    (tmp_path / "pairs.bin").write_bytes(whole_file[:place] + call + whole_file[place:])
    try:
        read_pairs(tmp_path / "pairs.bin")
    except InputError as error:
        assert "\n" not in str(error)
    assert not made.exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CASES)
def test_the_wrong_file_in_a_place_is_met_with_one_line(name: str, files: dict[str, bytes], tmp_path: Path):
    form = CASES[name]
    for other, content in files.items():
        written(form, tmp_path / "set")
        (tmp_path / "set" / name).write_bytes(content)
        try:
            form.read(tmp_path / "set")
        except InputError as error:
            assert "\n" not in str(error)
            assert other != name
        else:
            assert other == name or Path(other).suffix == Path(name).suffix
