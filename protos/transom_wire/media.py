"""Name the media types that both ends must agree on."""

from typing import Final

PAGE: Final = "application/x-protobuf;type=transom.documents.v1.Page"
"""A result part that is one serialised `transom.documents.v1.Page`."""

BYTES: Final = "application/octet-stream"
"""Bytes of no declared type."""

PIXELS: Final = "image/x-portable-anymap"
"""A page as an image, where a caller asks for images: netpbm, grey or colour."""
