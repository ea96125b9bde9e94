"""Small releases of IJB-S and of NIST's IJB-B and IJB-C, with faces of dots, as their providers lay them out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np

from aroface.datasets.images import encode_jpeg
from repository import ROOT
from standin_detector import dotted, place

WALK = ROOT / "tests/foreign/walk.mp4"
"""60 frames; the face of the template, 60 pixels lower, goes three pixels a frame to the right."""

BOX = (30.0, 105.0, 52.0, 55.0)
"""Of the face in the first frame of `WALK`."""


def walked(frame: int, offset: float = 0.0) -> tuple[float, float, float, float]:
    """Box of the face in a frame."""
    return (BOX[0] + 3 * frame + offset, *BOX[1:])


def rows(path: Path, header: str, lines: list[tuple]) -> None:
    """Write a list with commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in (header, *(",".join(map(str, each)) for each in lines))))


def opencv_video(path: Path, frames: int, fourcc: str = "MJPG", faces: int = 1) -> None:
    """The walk, and a second face 150 pixels to the right of the first, as OpenCV encodes them."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25, (320, 240))
    assert film.isOpened()
    for number in range(frames):
        places = [place(1, x=3 * number + 150 * face, y=60) for face in range(faces)]
        film.write(dotted(240, 320, *places, radius=5)[0][:, :, ::-1])
    film.release()


def still(path: Path, x: float = 100, y: float = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(dotted(300, 400, place(1.5, x=x, y=y), radius=6)[0], 95))


def ijbs_release(folder: Path, naming: str = "ijbs", first: int = 0) -> Path:
    """A release of IJB-S: two people, enrolled by stills and videos, in four videos; MD5 lists by md5sum."""
    for name in ("img", "videos", "videos_ground_truth"):
        (folder / name).mkdir(parents=True)
    shutil.copy(WALK, folder / "videos/4001.mp4")
    opencv_video(folder / "videos/4002.avi", 8, faces=2)
    opencv_video(folder / "videos/5001.mp4", 6, "mp4v")
    opencv_video(folder / "videos/5002.mp4", 6, "mp4v")
    for number in (7, 9):
        still(folder / f"img/{number}.jpg")
    head = "SUBJECT_ID,FILENAME,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
    seen = [(2, "videos/4001.mp4"), (2, "videos/4002.avi"), (10, "videos/4002.avi")]
    seen += [(2, "videos/5001.mp4"), (10, "videos/5002.mp4")]
    stills = [(2, "img/7.jpg", 145, 127, 78, 82), (10, "img/9.jpg", 145, 127, 78, 82)]
    p = folder / "protocols"
    rows(p / f"{naming}_metadata.csv", head, [*((*each, "", "", "", "") for each in seen), *stills])
    for kind, both in {
        "single": [[(1, 2, "img/7.jpg")], [(1, 10, "img/9.jpg")]],
        "booking": [[(1, 2, "img/7.jpg")], [(1, 10, "img/9.jpg")]],
        "surveillance": [[(1, 2, "videos/5001.mp4")], [(1, 10, "videos/5002.mp4")]],
    }.items():
        for part, lines in zip(("g1", "g2"), both, strict=True):
            name = f"galleries/{naming}_surveillance_to_{kind}_{part}.csv"
            rows(p / name, "TEMPLATE_ID,SUBJECT_ID,FILENAME", lines)
    for name, files in {
        "surveillance_to_single-booking": ["videos/4001.mp4", "videos/4002.avi"],
        "surveillance_to_surveillance": ["videos/4001.mp4", "videos/4002.avi"],
        "uav_to_single-booking": ["videos/4001.mp4"],
    }.items():
        rows(p / f"{naming}_{name}_probe.csv", "FILENAME", [(each,) for each in files])
    truth, head = folder / "videos_ground_truth", "FRAME_NUM,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,YAW"
    walk = [(frame + first, 2, *walked(frame), 0) for frame in range(0, 60, 10)]
    rows(truth / "4001.csv", head, [*walk, (5 + first, 77, *walked(5), 0)])
    two = [(frame + first, who, *walked(frame, 150 * (who == 10)), 0) for frame in (1, 7) for who in (2, 10)]
    rows(truth / "4002.csv", head, two)
    rows(truth / "5001.csv", head, [(first + 3, 2, *walked(3), 0)])
    rows(truth / "5002.csv", head, [(first + 3, 10, *walked(3), 0)])
    md5(folder, "img", "videos", "videos_ground_truth")
    return folder


def md5(folder: Path, *names: str) -> None:
    """Lists of sums, by the program md5sum."""
    for name in names:
        files = sorted(path.relative_to(folder).as_posix() for path in (folder / name).iterdir())
        done = subprocess.run(["md5sum", *files], cwd=folder, check=True, capture_output=True, text=True)
        (folder / f"{name}.md5").write_text(done.stdout)


def ijb_release(folder: Path, older: bool = False) -> Path:
    """NIST's IJB-C: two enrolled people and a third, of stills and of frames of one video."""
    images = folder / "images"
    shown = {f"img/{number}.jpg": (90 + number, 60 + number) for number in range(1, 6)}
    shown |= {f"frames/12_{number}.jpg": (80 + number, 50) for number in (1, 2)}
    boxes = {}
    for name, (x, y) in shown.items():
        still(images / name, x, y)
        boxes[name] = (x + 45, y + 67, 78, 82)
    still(images / "img/6.jpg", 100, 100)
    (images / "img/6.jpg").write_bytes(encode_jpeg(np.full((120, 90, 3), 128, np.uint8), 95))  # nobody can be seen
    boxes["img/6.jpg"] = ("", "", "", "")
    one = [(1, 11, "img/1.jpg", 101), (1, 11, "img/2.jpg", 102)]
    two = [(2, 22, "img/3.jpg", 201)]
    probes = [(3, 11, "frames/12_1.jpg", 103), (3, 11, "frames/12_2.jpg", 103), (4, 22, "img/4.jpg", 202)]
    probes += [(5, 33, "img/5.jpg", 301), (5, 33, "img/6.jpg", 302), (5, 33, "img/1.jpg", 303)]
    p = folder / "protocols"

    def templates(path: Path, lines: list[tuple]) -> None:
        if older:
            head = "TEMPLATE_ID,SUBJECT_ID,FILENAME,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
            rows(path, head, [(t, s, f, *boxes[f]) for t, s, f, _ in lines])
        else:
            head = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,FRAME_NUM"
            rows(path, head, [(t, s, f, sighting, *boxes[f], "") for t, s, f, sighting in lines])

    matches = "1,3\n1,4\n2,3\n2,4\n1,5\n2,5\n"
    if older:
        templates(p / "test1/enroll_templates.csv", one + two)
        templates(p / "test1/verif_templates.csv", probes)
        (p / "test1/match.csv").write_text(matches)
        templates(p / "test4/gallery_G1.csv", one)
        templates(p / "test4/gallery_G2.csv", two)
        templates(p / "test4/probes.csv", probes)
    else:
        templates(p / "ijbc_1N_gallery_G1.csv", one)
        templates(p / "ijbc_1N_gallery_G2.csv", two)
        templates(p / "ijbc_1N_probe_mixed.csv", probes)
        (p / "ijbc_11_G1_G2_matches.csv").write_text(matches)
    return folder
