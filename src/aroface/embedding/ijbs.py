"""Protocol ``ijbs``: rows are faces, medium by medium; templates are sets of media.

The faces are taken as they lie on disk, already cropped and aligned; a frame without one has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.ijbs import FACES, IJBS, Template, check_ijbs_labels, read_ijbs
from aroface.embedding.base import EmbeddingProtocol, listed_images
from aroface.embedding.image_source import Images, ImageSource

_MEDIA_AT_HAND = 4  # whose lists of files are kept: neighbouring batches are of the same video


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open the faces of an IJB-S tree in the order of (subject, file, frame), and the templates that they make.

    Arrays, with N faces of M media in T templates, all in ascending order:

    - ``medium_offsets`` (M + 1,): rows of medium m are ``medium_offsets[m]`` up to ``medium_offsets[m + 1]``;
    - ``template_offsets`` (T + 1,) and ``template_media``: media of template t are ``template_media`` from
      ``template_offsets[t]`` up to ``template_offsets[t + 1]``; none where no face of it was found;
    - ``template_subjects`` (T,);
    - ``gallery_{single,booking,surveillance}_{1,2}`` and ``probes_{single_booking,surveillance,uav}``: templates.

    Args:
        path: Root of the tree.
        options: Resolved options of the protocol.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`aroface.datasets.formats.ijbs.read_ijbs`; or no probe has a mate in a gallery.
    """
    from aroface.datasets.formats.image_checks import read_file, stored_face
    from aroface.datasets.preparation.align import described

    tree = read_ijbs(path)
    check_ijbs_labels(path, tree)
    media = tree.media
    offsets = np.cumsum([0, *(len(tree.frames[medium]) for medium in media)], dtype=np.int64)
    files_of = lru_cache(_MEDIA_AT_HAND)(lambda number: tree.files(media[number]))

    def images(start: int, stop: int) -> Images:
        rows = np.arange(start, stop)
        numbers = np.searchsorted(offsets, rows, side="right") - 1
        frames = zip(numbers.tolist(), (rows - offsets[numbers]).tolist(), strict=True)
        files = [files_of(number)[frame] for number, frame in frames]
        return np.stack([stored_face(read_file(file), file, size) for file in files])

    arrays = {"medium_offsets": offsets, **_template_arrays(tree)}
    return ImageSource(int(offsets[-1]), images, arrays, described(path / FACES))


def _template_arrays(tree: IJBS) -> dict[str, NDArray[np.int64]]:
    templates, positions = tree.templates, {medium: number for number, medium in enumerate(tree.media)}
    media = [
        [positions[template.subject, stem] for stem in template.media if (template.subject, stem) in positions]
        for template in templates
    ]
    numbers = {template: number for number, template in enumerate(templates)}

    def chosen(part: list[Template]) -> NDArray[np.int64]:
        return np.array([numbers[template] for template in part], dtype=np.int64)

    galleries = {
        f"gallery_{kind}_{number}": chosen(part)
        for kind, both in tree.galleries.items()
        for number, part in enumerate(both, start=1)
    }
    probes = {f"probes_{kind.replace('-', '_')}": chosen(part) for kind, part in tree.probes.items()}
    return {
        "template_offsets": np.cumsum([0, *map(len, media)], dtype=np.int64),
        "template_media": np.array([number for numbers_of_one in media for number in numbers_of_one], dtype=np.int64),
        "template_subjects": np.array([template.subject for template in templates], dtype=np.int64),
        **galleries,
        **probes,
    }


PROTOCOL = EmbeddingProtocol("ijbs", "ijbs", open_source, listed_images, synthetic_options={"flip": False})
