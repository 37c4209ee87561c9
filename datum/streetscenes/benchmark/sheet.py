"""Sheets of images for a person to look at."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

CAPTION_WIDTH, MARGIN = 190, 2


def save_sheet(rows: Mapping[str, Tensor], file: Path, columns: int = 8) -> None:
    """Saves the first `columns` images of each row, uint8[images, 3, height, width], its name at the left."""
    height, width = next(iter(rows.values())).shape[-2:]
    size = (CAPTION_WIDTH + columns * (width + MARGIN), len(rows) * (height + MARGIN))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows.items()):
        top = row * (height + MARGIN)
        pen.text((6, top + height // 2 - 6), name, fill="black")
        for column, image in enumerate(images[:columns].cpu().permute(0, 2, 3, 1).numpy()):
            sheet.paste(Image.fromarray(image), (CAPTION_WIDTH + column * (width + MARGIN), top))
    sheet.save(file, quality=85)
