"""A picture reaches the model decoded, upright, legible, small, and with nothing in it but its pixels."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageCms

from shared.actions.documents import picture
from shared.actions.readers.answer import Outcome, Unreadable
from shared.actions.readers.picture import MAX_PICTURE_BYTES, read_picture
from shared.actions.uploads import MAX_IMAGE_BYTES, checked_image, image_bytes
from shared.errors import FileTooLarge, UnreadableFile, UnsupportedFileType
from tests.documents_kit import MARK, advertisement, drawn, flat_png, photo

RED = (220, 20, 20)


def shown(data: bytes) -> Image.Image:
    """Return a picture as the model gets it."""
    media_type, kept = read_picture(data)
    image = Image.open(io.BytesIO(kept))
    assert image.get_format_mimetype() == media_type
    image.load()
    return image


def saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_name, **options)
    return out.getvalue()


def is_near(colour: object, expected: tuple[int, ...]) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(one - other) < 24 for one, other in zip(colour, expected, strict=True))


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_each_format_is_read(format_name: str) -> None:
    kept, media_type = picture(advertisement(format_name))
    assert media_type in {"image/png", "image/jpeg"}
    with Image.open(io.BytesIO(kept)) as image:
        assert image.size == (1200, 800)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, "tl"), (2, "tr"), (3, "br"), (4, "bl"), (5, "tl"), (6, "tr"), (7, "br"), (8, "bl")],
)
def test_a_turned_camera_s_picture_is_turned_back(orientation: int, corner: str) -> None:
    image = shown(photo(orientation)).convert("RGB")
    assert image.size == ((1200, 800) if orientation < 5 else (800, 1200))
    x = 20 if corner[1] == "l" else image.width - 20
    y = 20 if corner[0] == "t" else image.height - 20
    assert is_near(image.getpixel((x, y)), RED)


def test_nothing_of_a_photo_s_metadata_is_kept() -> None:
    data = photo(6)
    assert MARK.encode() in data
    _, kept = read_picture(data)
    assert MARK.encode() not in kept
    with Image.open(io.BytesIO(kept)) as image:
        assert not image.getexif()
        assert not {"icc_profile", "exif", "comment", "xmp", "photoshop"} & set(image.info)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1200, 800), (1200, 800)),
        ((6000, 4000), (2048, 1365)),
        ((3000, 6000), (1024, 2048)),
        ((1080, 8000), (735, 5443)),
        ((640, 9000), (427, 6000)),
    ],
    ids=["small", "a photo", "two to one", "a long screenshot", "longer than the model takes"],
)
def test_a_picture_is_scaled_down_to_what_stays_legible(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shown(flat_png(*size)).size == expected


def test_a_phone_s_largest_photo_is_read() -> None:
    data = saved(Image.new("RGB", (12_000, 9_000), RED), "JPEG", quality=50)
    kept, _ = picture(data)
    with Image.open(io.BytesIO(kept)) as image:
        assert image.size == (2048, 1536)


def test_a_picture_is_never_too_large_for_a_message_to_the_model() -> None:
    noise = Image.merge("RGB", [Image.effect_noise((2000, 2000), 200) for _ in range(3)])
    _, kept = read_picture(saved(noise, "JPEG", quality=95))
    assert len(kept) <= MAX_PICTURE_BYTES


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_becomes_plain_colours(mode: str) -> None:
    image = shown(saved(drawn().convert("L" if mode == "I;16" else "RGB").convert(mode), "PNG"))
    assert image.mode == "RGB"
    assert image.size == (1200, 800)


def test_a_cmyk_photo_keeps_its_colours() -> None:
    assert is_near(shown(advertisement("JPEG", mode="CMYK")).getpixel((20, 20)), RED)


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    assert shown(saved(clear, "PNG")).getpixel((50, 50)) == (255, 255, 255)
    palette = clear.convert("P")
    assert shown(saved(palette, "PNG", transparency=0)).getpixel((50, 50)) == (255, 255, 255)


def test_a_deep_grey_picture_is_not_washed_out() -> None:
    grey = Image.new("I;16", (100, 100), 0x4000)
    assert is_near(shown(saved(grey, "PNG")).getpixel((50, 50)), (64, 64, 64))


def test_colours_with_a_profile_become_srgb_and_a_broken_profile_does_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile, b"not a profile"):
        assert is_near(shown(saved(drawn(), "JPEG", icc_profile=icc)).getpixel((20, 20)), RED)


def test_an_animation_is_its_first_picture() -> None:
    frames = [drawn(400, 300), Image.new("RGB", (400, 300), "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert is_near(shown(data).getpixel((5, 5)), RED)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_the_same_bytes_give_the_same_picture(format_name: str) -> None:
    data = advertisement(format_name)
    assert picture(data) == picture(data)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_picture_cut_off_is_refused(format_name: str, share: float) -> None:
    data = advertisement(format_name)
    with pytest.raises(UnreadableFile, match=r"image: .*cut off"):
        checked_image(data[: int(len(data) * share)], field_name="image")


@pytest.mark.parametrize(
    ("size", "outcome"),
    [
        ((31, 500), Outcome.TOO_SMALL),
        ((40, 30_000), Outcome.TOO_SMALL),
        ((8_000, 8_000), Outcome.TOO_HARD),
        ((30_000, 30_000), Outcome.TOO_HARD),
    ],
    ids=["tiny", "a thread", "too many pixels", "a bomb"],
)
def test_a_picture_of_a_useless_size_is_refused(size: tuple[int, int], outcome: Outcome) -> None:
    with pytest.raises(Unreadable) as refused:
        read_picture(flat_png(*size))
    assert refused.value.outcome is outcome


def test_a_bomb_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnreadableFile, match="pixels"):
        checked_image(flat_png(8_000, 8_000, "RGBA"), field_name="image")


@pytest.mark.parametrize(
    "data", [b"GIF89a" + bytes(64), b"\0\0\0\x18ftypheic" + bytes(64), b"<svg/>", b"%PDF-1.7"]
)
def test_another_kind_of_file_is_not_a_picture(data: bytes) -> None:
    with pytest.raises(UnsupportedFileType, match="PNG, JPEG or WebP"):
        checked_image(data, field_name="image")


def test_a_picture_too_large_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(FileTooLarge, match=str(MAX_IMAGE_BYTES)):
        image_bytes(b"\xff\xd8\xff" + bytes(MAX_IMAGE_BYTES), field_name="image")
