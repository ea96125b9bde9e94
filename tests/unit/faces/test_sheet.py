from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.faces.sheet import contact_sheet, write_sheet


def tiles(count: int) -> np.ndarray:
    return np.stack([np.full((10, 12, 3), 20 * index, np.uint8) for index in range(count)])


def test_images_fill_rows_in_order_with_gaps() -> None:
    sheet = contact_sheet(tiles(5), columns=3, gap=2)
    assert sheet.shape == (2 * 12 + 2, 3 * 14 + 2, 3)
    assert (sheet[2:12, 2:14] == 0).all()
    assert (sheet[14:24, 16:28] == 80).all()
    assert (sheet[14:24, 30:] == 255).all()
    assert (sheet[12:14] == 255).all()


def test_sheet_is_nearly_square_where_columns_are_left_out() -> None:
    assert contact_sheet(tiles(7), gap=0).shape == (30, 36, 3)


def test_labels_stand_below_their_images_and_leave_them_whole() -> None:
    sheet = contact_sheet(np.repeat(tiles(1), 2, axis=0), labels=["a quite long label", ""], gap=0)
    assert (sheet[:10] == 0).all()
    assert (sheet[10:, :12] < 255).any()
    assert (sheet[10:, 12:] == 255).all()


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        contact_sheet(tiles(2), labels=["one"])
    with pytest.raises(ValueError, match="N >= 1"):
        contact_sheet(tiles(1)[:0])


def test_written_sheet_is_a_png_of_the_same_colours(tmp_path: Path) -> None:
    sheet = np.zeros((4, 5, 3), np.uint8)
    sheet[..., 0] = 200
    write_sheet(tmp_path / "new" / "sheet.png", sheet)
    read = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    np.testing.assert_array_equal(read[..., ::-1], sheet)
