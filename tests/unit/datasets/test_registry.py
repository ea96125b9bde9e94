from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aroface.datasets.registry import (
    find_entry,
    listing,
    markdown,
    missing,
    read_all,
    read_benchmarks,
    read_checkpoints,
    read_datasets,
)
from aroface.errors import InputError
from repository import REGISTRIES, ROOT

DATASETS = read_datasets(REGISTRIES / "datasets.yaml")
BENCHMARKS = read_benchmarks(REGISTRIES / "benchmarks.yaml")
CHECKPOINTS = read_checkpoints(REGISTRIES / "checkpoints.yaml")


def test_the_training_sets_are_those_of_the_paper():
    counts = {key: (entry.counts["identities"], entry.counts["images"]) for key, entry in DATASETS.items()}
    assert counts == {
        "ms1mv2": (85_742, 5_822_653),
        "ms1mv3": (93_431, 5_179_510),
        "webface4m": (205_990, 4_235_242),
        "webface12m": (617_970, 12_720_066),
    } | {
        "webface42m": (2_059_906, 42_474_557),
        "glint360k": (360_232, 17_091_657),
        "casia_webface": (10_572, 490_623),
        "hsface10k": (10_000, 500_000),
        "hsface20k": (20_000, 1_000_000),
        "idiff_face": (10_050, 502_500),
        "tinyface_train": (2_570, 7_804),
    }


@pytest.mark.parametrize("files", [("train.rec", "train.idx"), ("train_0.rec", "train_0.idx")])
def test_records_of_any_layout_are_there(tmp_path: Path, files: tuple[str, ...]):
    """CVLface's copy of MS1MV2 has no property, and a set may come in parts."""
    folder = tmp_path / "faces_emore"
    folder.mkdir()
    (folder / files[0]).touch()
    assert "faces_emore/train.idx" in missing(DATASETS["ms1mv2"], tmp_path)
    (folder / files[1]).touch()
    assert missing(DATASETS["ms1mv2"], tmp_path) is None


def test_a_set_in_its_providers_form_waits_for_prepare(tmp_path: Path):
    line = missing(DATASETS["hsface10k"], tmp_path)
    fetch, make = f"aroface data fetch hsface10k --data-dir {tmp_path}", "aroface data prepare "
    make += f"{tmp_path}/archives/hsface10k.lmdb --out {tmp_path}/HSFace10K"
    assert f"; {fetch} gets hsface10k.lmdb from Vec2Face (MIT), " in line
    assert line.endswith(f", and {make} makes it")
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives/hsface10k.lmdb").touch()
    line = missing(DATASETS["hsface10k"], tmp_path)
    assert f"; {make} makes it" in line
    assert fetch not in line
    (row,) = [row for row in listing(tmp_path, REGISTRIES) if row.startswith("hsface10k ")]
    assert row.endswith(f"HSFace10K/ (train.rec, train.idx); {make}")
    line = missing(DATASETS["tinyface_train"], tmp_path)
    assert "--align --out" in line
    assert line.count("aroface data prepare") == 2


def test_the_benchmarks_have_the_sizes_of_the_literature():
    sets = {key: entry for key, entry in BENCHMARKS.items() if not key.endswith("_cvlface")}
    pairs = {key: entry.counts["pairs"] for key, entry in sets.items() if entry.protocol == "pairs"}
    assert pairs == {
        "lfw": 6000,
        "cfp_fp": 7000,
        "cfp_ff": 7000,
        "agedb_30": 6000,
        "calfw": 6000,
        "cplfw": 6000,
        "xqlfw": 6000,
        **{f"rfw_{group}": 6000 for group in ("african", "asian", "caucasian", "indian")},
    }
    for key in BENCHMARKS.keys() - sets.keys():
        assert BENCHMARKS[key].counts == BENCHMARKS[key.removesuffix("_cvlface")].counts
    assert BENCHMARKS["tinyface"].counts == {"gallery": 4443, "distractors": 153_428, "probes": 3728}


@pytest.mark.parametrize("entry", [*read_all(REGISTRIES).values()], ids=lambda entry: entry.key)
def test_what_is_missing_is_one_line_until_it_is_there(entry, tmp_path: Path):
    line = missing(entry, tmp_path)
    assert line.startswith(f"{entry.title}: not in {tmp_path}: ")
    assert "\n" not in line
    assert all(part in line for part in (entry.request, entry.licence, *entry.files))
    for name in (name.replace("{cs6,ijbs}", "ijbs") for name in entry.files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert missing(entry, tmp_path) is None


def test_released_checkpoints_belong_to_methods_and_sets_of_the_paper():
    methods = yaml.safe_load((REGISTRIES / "methods.yaml").read_text())
    assert len(CHECKPOINTS) >= 30
    for entry in CHECKPOINTS.values():
        assert (entry.method in methods) != (entry.method_label is not None)
        assert entry.dataset in DATASETS
        assert entry.color == (
            "BGR" if entry.provider in ("AdaFace", "MagFace") or "adaface_cfsm" in entry.key else "RGB"
        )
        assert [item.file for item in entry.downloads] == list(entry.files)
        assert all(item.sha256 is None for item in entry.downloads), "nobody has published any"
    keys = [(entry.method, entry.label, entry.dataset, entry.arch) for entry in CHECKPOINTS.values()]
    assert len({*keys}) == len(keys)


def test_every_weight_of_aroface_has_its_plain_partner():
    aroface = [entry for entry in CHECKPOINTS.values() if entry.method.endswith("aroface")]
    assert len(aroface) == 5
    heads = {key: method["head"] for key, method in yaml.safe_load((REGISTRIES / "methods.yaml").read_text()).items()}
    for entry in aroface:
        partner = CHECKPOINTS[entry.partner]
        assert (partner.dataset, partner.arch) == (entry.dataset, entry.arch)
        # The released configuration of ArcFace+ARoFace on WebFace4M trains CosFace with a margin of .4.
        trained = "cosface" if entry.key == "arcface_aroface_webface4m_r100" else entry.method
        assert heads[partner.method] == heads[trained]


def test_a_partner_that_is_none_is_one_line(tmp_path: Path):
    text = (REGISTRIES / "checkpoints.yaml").read_text()
    for other in ("none", "adaface_ms1mv3_r100"):
        (tmp_path / "checkpoints.yaml").write_text(text.replace("partner: adaface_webface4m_r100", f"partner: {other}"))
        with pytest.raises(InputError, match=rf"webface4m_r100\.partner: '{other}'; expected a key of this file with"):
            read_checkpoints(tmp_path / "checkpoints.yaml")


def test_what_can_be_fetched_says_how_and_the_rest_whom_to_ask(tmp_path: Path):
    assert "; aroface data fetch ms1mv3 --data-dir" in missing(DATASETS["ms1mv3"], tmp_path)
    assert "; request it from the authors of its paper" in missing(BENCHMARKS["ijbs"], tmp_path)
    assert "; no longer distributed since 2023-03-14 by NIST" in missing(BENCHMARKS["ijbc"], tmp_path)


def test_an_unknown_key_names_the_known_ones():
    with pytest.raises(InputError, match=r"no set 'ms1m'; .* aroface data list prints; .*ms1mv[23]"):
        find_entry("ms1m", REGISTRIES)


def test_only_the_missing_files_are_listed(tmp_path: Path):
    (tmp_path / "faces_emore").mkdir()
    (tmp_path / "faces_emore" / "train.rec").touch()
    assert ": faces_emore/train.idx, faces_emore/property;" in missing(DATASETS["ms1mv2"], tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: MS1MV2", "title: MS1MV2\n  colour: RGB", r"datasets\.yaml: ms1mv2: Additional properties .*colour"),
        ("  title: MS1MV2\n", "", "ms1mv2: 'title' is a required property"),
        ("folder: faces_emore", "folder: /absolute", r"ms1mv2\.folder"),
        ("folder: faces_emore", "folder: ../elsewhere", r"ms1mv2\.folder"),
        ("85742", "'85742'", r"ms1mv2\.counts\.identities: '85742' is not of type 'integer'; write the number without"),
    ],
)
def test_a_wrong_entry_is_one_line(old: str, new: str, message: str, tmp_path: Path):
    text = (REGISTRIES / "datasets.yaml").read_text()
    assert old in text
    (tmp_path / "datasets.yaml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_datasets(tmp_path / "datasets.yaml")


def test_a_benchmark_has_the_protocol_of_a_known_format(tmp_path: Path):
    text = (REGISTRIES / "benchmarks.yaml").read_text()
    (tmp_path / "benchmarks.yaml").write_text(text.replace("protocol: pairs", "protocol: lfw", 1))
    with pytest.raises(InputError, match=r"yaml: \w+\.protocol: unknown protocol 'lfw'; expected one of pairs"):
        read_benchmarks(tmp_path / "benchmarks.yaml")


SHA = "0" * 64
ADDRESSES = [
    ({"url": "https://example.org/a.zip"}, True),
    ({"url": "http://example.org/a.zip"}, False),
    ({"url": "http://example.org/a.zip", "sha256": SHA}, True),
    ({"url": "http://127.0.0.1:80/a.zip"}, True),
    ({"url": "http://127.0.0.1.example.org/a.zip"}, False),
    ({"url": "http://localhost@example.org/a.zip"}, False),
    ({"url": "ftp://example.org/a.zip", "sha256": SHA}, False),
    ({"url": "HTTP://example.org/a.zip"}, False),
    ({"url": "https://example.org/a.zip", "size": 0}, False),
    ({"url": "https://example.org/a.zip", "size": 7, "max_gb": 0.5}, True),
    ({"url": "https://example.org/a.zip", "max_gb": -1}, False),
]


@pytest.mark.parametrize(("address", "fine"), ADDRESSES)
def test_plain_http_needs_a_sha256(address: dict[str, object], fine: bool, tmp_path: Path):
    entries = yaml.safe_load((REGISTRIES / "datasets.yaml").read_text())
    entries["ms1mv2"]["fetch"] = [{"file": "archives/a.zip", **address}]
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump(entries))
    if fine:
        (item,) = read_datasets(tmp_path / "datasets.yaml")["ms1mv2"].downloads
        assert (item.size, item.max_bytes) == ((7, 500_000_000) if "size" in address else (None, None))
    else:
        with pytest.raises(InputError, match=r"datasets\.yaml: ms1mv2\.fetch: 0\.(url|size|max_gb)"):
            read_datasets(tmp_path / "datasets.yaml")


def test_documentation_has_the_table_of_the_registries():
    page = (ROOT / "docs/reference/data-sets.md").read_text()
    assert "\n".join(["<!-- aroface data list --markdown -->", *markdown(REGISTRIES), ""]) in page


@pytest.mark.parametrize("key", ["MISSING", "missing/x.bin", "-x", " ", "$HOME", "e\u0301", "a\nb", "x" * 5000])
def test_a_set_that_is_not_there_is_a_short_line(key: str) -> None:
    with pytest.raises(InputError, match="no set '") as caught:
        find_entry(key)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 420
