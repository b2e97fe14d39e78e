"""Pictures: from files to arrays, broken files, and names that lead elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.readers import save, write

from rsmoe.data.rasters.images import find_images, load_image, picture_size
from rsmoe.data.rasters.mask_sources import FileMask
from rsmoe.errors import UserError


def test_load_image_gives_rgb(tmp_path: Path) -> None:
    assert load_image(save(tmp_path / "a.png")).shape == (8, 12, 3)
    grey = load_image(save(tmp_path / "g.png", 7, "L"))
    assert grey.shape == (8, 12, 3) and (grey == 7).all()
    assert load_image(save(tmp_path / "t.png", 9, "RGBA")).shape == (8, 12, 3)
    bands = np.zeros((4, 5, 6), np.uint8)
    assert load_image(bands) is bands


def test_load_image_turns_by_exif(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (12, 8, 3) and picture_size(tmp_path / "a.jpg") == (8, 12)
    assert picture_size(np.zeros((5, 7, 3), np.uint8)) == (7, 5)
    assert picture_size(FileMask(save(tmp_path / "m.png", 0, "L"))) == (12, 8)
    for content, message in ((b"", "is empty"), (b"<html>", "is not a picture"), (None, "no image file")):
        broken = tmp_path / "b.jpg"
        broken.unlink(missing_ok=True) if content is None else broken.write_bytes(content)
        with pytest.raises(UserError, match=message):
            picture_size(broken)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_load_image_names_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"cut\.{suffix} is (truncated|not a picture)"):
        load_image(path)


def test_load_image_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no image file"):
        load_image(tmp_path / "none.png")
    (tmp_path / "zero.png").touch()
    with pytest.raises(UserError, match=r"zero\.png is empty \(0 bytes\)"):
        load_image(tmp_path / "zero.png")
    with pytest.raises(UserError, match="not a picture"):
        load_image(write(tmp_path / "page.png", "<html>404</html>"))
    with pytest.raises(UserError, match="deep.png stores uint16; say how"):
        load_image(save(tmp_path / "deep.png", 900, "I;16"))
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(UserError, match=r"\(H, W, C\) uint8"):
            load_image(wrong)
    path = save(tmp_path / "large.png", size=(40, 40))
    monkeypatch.setattr("rsmoe.data.rasters.images.MAX_PIXELS", 1000)
    with pytest.raises(UserError, match=r"large\.png has more than 1,000 pixels"):
        load_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard speaks first
    with pytest.raises(UserError, match=r"large\.png has more than 1,000 pixels"):
        load_image(path)


def test_find_images_stays_in_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "secret.png")
    inside = save(tmp_path / "images/a.b.png")
    assert find_images(tmp_path / "images", ["x/y/a.b.tif"], source="s") == {"x/y/a.b.tif": inside}
    with pytest.raises(UserError, match="1 of 1"):
        find_images(tmp_path / "images", ["../secret.png"], source="s")
    with pytest.raises(UserError, match="does not exist"):
        find_images(tmp_path / "absent", ["a"], source="s")
