"""The verbs of ``aroface data``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aroface.cli.arguments import (
    Arguments,
    Verbs,
    above_zero,
    add_group,
    add_time_limit,
    add_verb,
    check_suffix,
    listed,
    natural,
    positive,
    share,
)
from aroface.cli.detector import DETECTOR, add_detector, open_named_detector

if TYPE_CHECKING:
    from aroface.datasets.preparation.align import NoFace
    from aroface.omissions import KindSummary

_Align = Callable[..., tuple[Path, dict[str, Any]]]

_PEOPLE = ("people_depth", "lost_people", "resize_crops")
_COLUMNS = ("split", "image_column", "label_column")
_GROUND_TRUTH = ("first_frame", "columns")
_OMISSIONS = ("on_corrupt", "max_left_out")


def add_data_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface data`` and its verbs."""
    kinds = add_group(verbs, "data", "fetch, verify, make, pack and look at data sets")
    _generate(kinds)
    _pack(kinds)
    _pairs(kinds)
    _degrade(kinds)
    _search(kinds)
    _list(kinds)
    _fetch(kinds)
    _verify(kinds)
    _prepare(kinds)
    _info(kinds)


def _generate(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "generate",
        "render a synthetic set in the formats of the real ones",
        """aroface data generate faces.yaml --out data/faces

faces.yaml:
  name: faces
  kind: training          # or pairs (--out is a .bin file), tinyface, ijb, ijbs
  seed: 0
  spec: {identities: 1000, images_per_identity: 20}""",
        _do_generate,
    )
    verb.add_argument("spec", type=Path, help="YAML or JSON: name, kind, seed and spec")
    verb.add_argument("--out", type=Path, required=True, help="the set's folder, or its .bin file")
    verb.add_argument("--workers", type=positive, metavar="N", help="processes that draw (default: all cores)")


def _pack(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "pack",
        "turn a folder of photographs, one sub-folder a person, into training and test sets",
        "aroface data pack crops --out data/mine --test-fraction 0.3 --probe-resolution 16\n"
        "  aroface data pack photographs --detector mtcnn --out data/mine",
        _do_pack,
    )
    verb.add_argument("folder", type=Path, help="person/image.jpg, in any usual format and at any depth")
    verb.add_argument("--out", type=Path, required=True, help="folder for train/, pairs.bin, pairs_lq.bin, tinyface/")
    verb.add_argument("--options", type=Path, help="YAML or JSON file with any of the options")
    verb.add_argument("--landmarks", type=Path, help="CSV of five landmarks: the images are raw and get aligned")
    add_detector(verb, "finds the landmarks where there is no CSV")
    verb.add_argument("--threads", type=positive, metavar="N", help="of the detector (default: all cores)")
    add_time_limit(verb)
    _add_data_dir(verb)
    verb.add_argument("--test-fraction", type=share, metavar="SHARE", help="of the people; the others are trained on")
    verb.add_argument("--probe-resolution", type=positive, metavar="PIXELS", help="of the TinyFace-like probes")
    verb.add_argument("--singletons", choices=("error", "distractors"), help="people with a single image")
    verb.add_argument("--seed", type=natural, help="of every random choice")
    _add_max_megapixels(verb)
    verb.add_argument(
        "--orientation",
        choices=("exif", "stored"),
        help="frame of the landmarks: photographs as viewers show them, turned by EXIF (default), or as stored",
    )
    verb.add_argument(
        "--max-suspect-landmarks",
        type=share,
        metavar="SHARE",
        help="of images whose landmarks cannot be a face's: outside, exchanged, of another frame (0.02)",
    )
    _add_people_options(verb)
    add_omission_options(verb)


def _pairs(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "pairs",
        "make a set of labelled pairs (.bin) of a list or of people's folders, from aligned crops or photographs",
        "aroface data pairs pairs.csv --images photographs --detector scrfd_2.5g --out data/mine.bin\n"
        "  aroface data pairs crops --pairs 3000 --seed 1 --out data/mine.bin    # crops/person/image.jpg\n"
        "  aroface evaluate --model my.onnx --pairs data/mine.bin",
        _do_pairs,
    )
    verb.add_argument(
        "source",
        type=Path,
        metavar="LIST|FOLDER",
        help="CSV, TSV or text with two paths and a label a line, LFW's pairs.txt, or a folder with one a person",
    )
    verb.add_argument("--out", type=Path, required=True, metavar="NAME.bin", help="the set; its people lie beside it")
    verb.add_argument("--images", type=Path, metavar="DIR", help="that a list's paths are relative to (the list's own)")
    verb.add_argument("--pairs", type=positive, metavar="N", help="at most, drawn from people's folders (6000)")
    verb.add_argument("--seed", type=natural, help="of these draws (0)")
    _add_max_megapixels(verb)
    add_omission_options(verb)
    _add_people_options(verb)
    _add_photograph_options(verb)


def _search(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "search",
        "make a set for 1:N search of people's folders, as gallery and as probes, in TinyFace's layout",
        "aroface data search gallery probes --out data/search    # gallery/person/image.jpg, probes/person/image.jpg\n"
        "  aroface data search gallery probes --distractors others --detector mtcnn --out data/search",
        _do_search,
    )
    verb.add_argument("gallery", type=Path, help="folder with one for each known person")
    verb.add_argument("probes", type=Path, help="folder with one, of the same name, for each person searched for")
    verb.add_argument("--out", type=Path, required=True, help="the set's folder")
    verb.add_argument("--distractors", type=Path, metavar="DIR", help="images of other people, who join the gallery")
    _add_max_megapixels(verb)
    add_omission_options(verb)
    _add_people_options(verb)
    _add_photograph_options(verb)


def _add_photograph_options(verb: argparse.ArgumentParser) -> None:
    """Declare the options of verbs that take crops, or photographs with a detector."""
    faces = verb.add_argument_group("photographs")
    add_detector(faces, "aligns photographs by their largest faces (default: these are aligned crops)")
    faces.add_argument("--threads", type=positive, metavar="N", help="(default: all cores)")
    add_time_limit(faces)
    _add_data_dir(faces)


def _degrade(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "degrade",
        "make sets of few pixels of a set of pairs: against sharp images (HR to LR) and among themselves (LR to LR)",
        "aroface data degrade data/lfw.bin --out data/lfw_low    # lfw_hr-lr_56.bin … lfw_lr-lr_7.bin\n"
        "  aroface data degrade data/mine.bin --pixels 24 14 --sides hr-lr --degradation surveillance --out low\n"
        "  aroface evaluate --model my.onnx --pairs data/lfw_low/*.bin",
        _do_degrade,
    )
    verb.add_argument("source", type=Path, metavar="PAIRS.bin", help="labelled pairs of aligned faces")
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for NAME_SIDES_PIXELS.bin")
    verb.add_argument(
        "--pixels", type=positive, nargs="+", metavar="N", help="sides that faces of 112 are reduced to (56 28 14 7)"
    )
    help_text = "what is reduced: the second image of a pair, or both (hr-lr lr-lr)"
    verb.add_argument("--sides", nargs="+", choices=("hr-lr", "lr-lr"), help=help_text)
    help_text = "fewer pixels alone, or also blur, noise and JPEG of a camera (downsample)"
    verb.add_argument("--degradation", choices=("downsample", "surveillance"), help=help_text)
    verb.add_argument("--seed", type=natural, help="of a camera's random choices (0)")


def _list(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "list",
        "list the sets and checkpoints of the paper and what is there",
        "aroface data list",
        _do_list,
    )
    _add_data_dir(verb)
    verb.add_argument("--markdown", action="store_true", help="as the table of the documentation")


def _fetch(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "fetch",
        "download and unpack registered sets, going on where an earlier download ended",
        "aroface data fetch ms1mv3 adaface_ms1mv2_r100 --data-dir data",
        _do_fetch,
    )
    verb.add_argument("names", nargs="+", metavar="NAME", help="as aroface data list names them")
    _add_data_dir(verb)
    verb.add_argument("--connections", type=positive, default=4, metavar="N", help="at once for a file (%(default)s)")
    verb.add_argument("--max-size", type=above_zero, metavar="GB", help="of a file (default: as registered, or 64)")
    verb.add_argument(
        "--min-rate", type=above_zero, default=1.0, metavar="KB/S", help="lowest rate of a connection (%(default)g)"
    )
    verb.add_argument(
        "--max-wait", type=above_zero, default=60.0, metavar="S", help="longest wait between attempts (%(default)g)"
    )
    verb.add_argument(
        "--max-ratio",
        type=above_zero,
        default=20.0,
        metavar="RATIO",
        help="of what an archive holds to its own size (%(default)g)",
    )


def _verify(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "verify",
        "read a whole set, say what it holds and what is wrong with it, and write its manifest",
        "aroface data verify ms1mv3\n  aroface data verify results/demo/data/synthetic-*/train",
        _do_verify,
    )
    verb.add_argument("set", help="as aroface data list names it, or a folder or .bin file")
    _add_data_dir(verb)
    verb.add_argument("--name", help="registered set that a folder or file holds: its counts are compared")
    verb.add_argument("--manifest", type=Path, help="file to write (results/data/NAME.manifest.json)")
    verb.add_argument("--threads", type=positive, metavar="N", help="that read and decode (default: all cores)")
    verb.add_argument(
        "--max-corrupt-fraction",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="of a training set's images that may be damaged (0)",
    )
    _add_max_megapixels(verb)


def _prepare(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "prepare",
        "turn what a provider gives out into the layout that is read here",
        "aroface data prepare data/WebFace260M/0 --out data/WebFace4M    # its zip archives, as they come\n"
        "  aroface data prepare data/archives/hsface10k.lmdb --out data/HSFace10k\n"
        "  aroface data prepare data/faces_emore --out data/faces_emore_shuffled --shuffle\n"
        "  aroface data prepare data/TinyFace --align --out data/TinyFace_scrfd\n"
        "  aroface data prepare IJBS_release --out data/IJB-S --detector scrfd_10g",
        _do_prepare,
    )
    verb.add_argument(
        "source",
        type=Path,
        help="folders of aligned crops, one a person, at any depth, or zip archives of them; Parquet, Arrow,"
        " WebDataset, LMDB; a record set; with --align raw crops at any depth; the release of IJB-S, or NIST's of IJB-B"
        " or IJB-C",
    )
    verb.add_argument("--out", type=Path, required=True, help="folder for train.rec, train.idx, property; or for faces")
    help_text = "write the images in random order, for disks that seek; a set in shards takes twice the room meanwhile"
    verb.add_argument("--shuffle", action="store_true", help=help_text)
    verb.add_argument("--seed", type=natural, default=0, help="of that order (%(default)s)")
    _add_max_megapixels(verb)
    add_omission_options(verb)
    _add_people_options(verb)
    _add_column_options(verb)
    _add_align_options(verb)


def _info(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "info",
        "say what a set holds and draw a contact sheet of it",
        "aroface data info results/demo/data/synthetic-*/train --sheet faces.png",
        _do_info,
    )
    verb.add_argument("data", help="as aroface data list names it, or a training folder, .bin file or TinyFace folder")
    _add_data_dir(verb)
    verb.add_argument("--sheet", type=Path, metavar="PNG", help="draw its first images")


def _add_people_options(verb: argparse.ArgumentParser) -> None:
    people = verb.add_argument_group("folders of people")
    people.add_argument(
        "--people-depth", type=positive, metavar="N", help="folders down to a person's, where it is not found by itself"
    )
    people.add_argument("--lost-people", choices=("error", "omit"), help="people of whom no image can be taken (error)")
    people.add_argument(
        "--resize-crops", action="store_const", const=True, help="take square images of any size for aligned crops"
    )


def _add_column_options(verb: argparse.ArgumentParser) -> None:
    columns = verb.add_argument_group("Parquet and Arrow files, as of Hugging Face")
    columns.add_argument("--split", metavar="NAME", help="(the only one, or train)")
    columns.add_argument("--image-column", metavar="NAME", help="where it is not found by type and name")
    columns.add_argument("--label-column", metavar="NAME", help="where it is not found by type and name")


def add_omission_options(verb: argparse._ActionsContainer) -> None:
    """Declare the options on images that cannot be decoded, and on how many may be left out."""
    verb.add_argument(
        "--on-corrupt", choices=("error", "skip"), help="images that cannot be decoded: an error (default), or left out"
    )
    verb.add_argument(
        "--max-left-out", type=share, metavar="SHARE", help="of the images that may be left out, all told (0.02)"
    )


def _given(options: Arguments, *names: str) -> dict[str, Any]:
    """The options that are given on the command line."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _add_align_options(verb: argparse.ArgumentParser) -> None:
    align = verb.add_argument_group("alignment of raw crops, as of TinyFace and IJB-S")
    align.add_argument("--align", action="store_true", help="find the face in each crop and align it by five points")
    add_detector(align, default=DETECTOR)
    align.add_argument(
        "--no-face",
        choices=("crop", "omit"),
        help="write a crop without a face squared and resized, or omit it (crop; of IJB-S's release omit)",
    )
    align.add_argument(
        "--first-frame",
        type=natural,
        metavar="N",
        help="number that IJB-S's ground truth gives to a video's first frame (0)",
    )
    align.add_argument(
        "--columns",
        type=listed,
        metavar="NAMES",
        help="of IJB-S's ground truth, with commas: subject, frame, x, y, width, height, file, or - (default: as named "
        "in its first lines)",
    )
    align.add_argument("--threads", type=positive, metavar="N", help="(default: all cores)")
    add_time_limit(align)
    _add_data_dir(align)


def add_photograph_options(group: argparse._ActionsContainer) -> None:
    """Declare the options on the detector of faces in photographs, where it lies, and their size."""
    add_detector(group, default=DETECTOR)
    _add_data_dir(group)
    _add_max_megapixels(group)


def _add_max_megapixels(verb: argparse._ActionsContainer) -> None:
    verb.add_argument(
        "--max-megapixels", type=above_zero, default=100.0, metavar="N", help="of an image file (%(default)g)"
    )


def _allow_megapixels(options: Arguments) -> None:
    from aroface.datasets.images import allow_megapixels

    allow_megapixels(options.max_megapixels)


def _add_data_dir(verb: argparse._ActionsContainer) -> None:
    verb.add_argument("--data-dir", type=Path, default=Path("data"), help="where received sets lie (%(default)s)")


def _do_generate(options: Arguments) -> None:
    from aroface.datasets.synthetic.generate import generate

    generate(options.spec, options.out, options.workers)
    print(options.out)


def _do_pack(options: Arguments) -> None:
    from aroface.datasets.preparation.pack import PackOptions, pack
    from aroface.datasets.preparation.photograph_faces import SEVERAL
    from aroface.errors import InputError
    from aroface.schemas import read_yaml

    _allow_megapixels(options)
    chosen = (
        "landmarks",
        "detector",
        "threshold",
        "test_fraction",
        "probe_resolution",
        "singletons",
        "seed",
        "orientation",
    )
    given = _given(options, *chosen, "max_suspect_landmarks", *_PEOPLE, *_OMISSIONS)
    written = read_yaml(options.options) if options.options else {}
    if not isinstance(written, dict):
        raise InputError("no mapping", file=options.options, expected="options such as test_fraction")
    how = PackOptions.from_mapping({**written, **given}, file=options.options)
    options.detector, options.threshold = how.detector, how.threshold
    packed = pack(options.folder, options.out, how, open_named_detector(options))
    _tell(packed.omissions.summary(), packed.corrupt, SEVERAL.values())
    packed.suspects.tell()
    print(f"{options.out}  {packed}")


def _do_pairs(options: Arguments) -> None:
    from aroface.datasets.preparation.pair_sets import PairSetOptions, make_pair_set
    from aroface.datasets.preparation.photograph_faces import SEVERAL

    _allow_megapixels(options)
    detector = open_named_detector(options)
    chosen = ("images", "pairs", "seed", *_PEOPLE, *_OMISSIONS)
    made = make_pair_set(options.source, options.out, PairSetOptions(**_given(options, *chosen)), detector)
    _tell(made.omissions.summary(), made.corrupt, SEVERAL.values())
    print(f"{options.out}  {made}\n{made.fold_line()}")


def _do_degrade(options: Arguments) -> None:
    from aroface.datasets.preparation.degraded_pairs import DegradeOptions, degrade_pairs

    how = DegradeOptions(**_given(options, "pixels", "sides", "degradation", "seed"))
    for made in degrade_pairs(options.source, options.out, how):
        print(f"{made.path}  {made.pairs:,} pairs{'' if made.made else ', there already'}")


def _do_search(options: Arguments) -> None:
    from aroface.datasets.preparation.photograph_faces import SEVERAL
    from aroface.datasets.preparation.search_sets import SearchSetOptions, make_search_set

    _allow_megapixels(options)
    detector = open_named_detector(options)
    how = SearchSetOptions(**_given(options, "distractors", *_PEOPLE, *_OMISSIONS))
    made = make_search_set(options.gallery, options.probes, options.out, how, detector)
    _tell(made.omissions.summary(), made.corrupt, SEVERAL.values())
    print(f"{options.out}  {made}")


def _do_list(options: Arguments) -> None:
    from aroface.datasets.registry import listing, markdown

    for line in markdown() if options.markdown else listing(options.data_dir):
        print(line)


def _do_fetch(options: Arguments) -> None:
    from aroface.datasets.preparation.connection import Limits
    from aroface.datasets.preparation.fetch import fetch
    from aroface.datasets.registry import find_entry, missing

    limits = Limits(max_wait_s=options.max_wait, min_rate=options.min_rate * 1e3)
    max_bytes = None if options.max_size is None else int(options.max_size * 1e9)
    for entry in [find_entry(name) for name in options.names]:
        fetched = fetch(
            entry,
            options.data_dir,
            options.connections,
            limits=limits,
            max_bytes=max_bytes,
            max_ratio=options.max_ratio,
        )
        print(f"{entry.key}  {', '.join(map(str, fetched)) or 'is there'}")
        if (line := missing(entry, options.data_dir)) is not None:
            print(line)


def _do_verify(options: Arguments) -> None:
    from aroface.datasets.preparation.verify import find_set, require_passed, verdict_lines, verify

    _allow_megapixels(options)
    named = find_set(options.set, options.data_dir, options.name)
    manifest = options.manifest or named.manifest
    verdict = verify(
        named.data,
        manifest,
        name=named.name,
        expected=named.counts,
        threads=options.threads or os.cpu_count() or 1,
        max_corrupt_fraction=options.max_corrupt_fraction,
    )
    print(*verdict_lines(verdict), sep="\n")
    _tell(verdict.get("left_out", {}))
    print(f"written to   {manifest}")
    require_passed(verdict, named.data)


def _do_prepare(options: Arguments) -> None:
    _allow_megapixels(options)
    aligner = _aligner(options)
    if aligner is not None:
        _do_align(options, *aligner)
        return
    from aroface.datasets.preparation.prepare import PrepareOptions, prepare

    how = PrepareOptions(**_given(options, "shuffle", "seed", *_PEOPLE, *_COLUMNS, *_OMISSIONS))
    prepared = prepare(options.source, options.out, how)
    _tell(prepared.omissions.summary(), prepared.corrupt)
    print(f"{options.out}  {prepared.images:,} images of {prepared.people:,} people")


def _aligner(options: Arguments) -> tuple[_Align, NoFace] | None:
    """Function that aligns the faces of a source, and what it does by default without one; None for training sets.

    Raises:
        InputError: An option is for another source.
    """
    from aroface.datasets.formats.ijb_release import is_ijb_release
    from aroface.datasets.formats.ijbs_release import is_ijbs_release
    from aroface.errors import InputError

    ground_truth = _given(options, *_GROUND_TRUTH)
    if is_ijbs_release(options.source):
        from aroface.datasets.preparation.ijbs_faces import prepare_ijbs

        return partial(prepare_ijbs, **ground_truth), "omit"
    for name in ground_truth:
        what = f"--{name.replace('_', '-')} is for the release of IJB-S"
        raise InputError(what, file=options.source, remedy="leave it out")
    if is_ijb_release(options.source):
        from aroface.datasets.preparation.ijb_crops import prepare_ijb

        return prepare_ijb, "crop"
    if options.align:
        from aroface.datasets.preparation.align import align_tree

        return align_tree, "crop"
    return None


def _tell(left_out: Mapping[str, KindSummary], corrupt: Sequence[str] = (), taken: Container[str] = ()) -> None:
    """Print a summary of what was left out, with the reason of each damaged image, or ``taken`` but worth a note."""
    from aroface.datasets.preparation.photograph_checks import CORRUPT
    from aroface.omissions import summary_lines

    for line in summary_lines(left_out, taken=taken, reasons={CORRUPT: corrupt}):
        print(line, file=sys.stderr)


def _do_align(options: Arguments, align: _Align, no_face: NoFace) -> None:
    from aroface.datasets.preparation.align import TAKEN, AlignOptions
    from aroface.errors import InputError

    if options.shuffle:
        raise InputError("--shuffle is for training sets", remedy="leave it out: aligned crops keep their names")
    for name in _given(options, *_PEOPLE, *_COLUMNS):
        raise InputError(
            f"--{name.replace('_', '-')} is for training sets", remedy="leave it out: every image is aligned"
        )
    detector = open_named_detector(options)
    assert detector is not None, "there is one by default"
    how = AlignOptions(no_face=options.no_face or no_face, **_given(options, *_OMISSIONS))
    written, report = align(options.source, options.out, detector, how, options.threads)
    _tell(report.get("left_out", {}), report.get("corrupt", ()), TAKEN)
    counts = report["counts"]
    without = f"{counts['without_face']:,} without a face ({counts['without_face'] / counts['images']:.2%})"
    print(f"{written}  {counts['images']:,} images, {without}, {counts['several_faces']:,} with several")


def _do_info(options: Arguments) -> None:
    from aroface.datasets.info import describe, sheet
    from aroface.datasets.registry import place_of

    check_suffix(options.sheet, ".png")
    data = place_of(options.data, options.data_dir)
    for line in describe(data):
        print(line)
    if options.sheet:
        sheet(data, options.sheet)
        print(f"contact sheet  {options.sheet}")
