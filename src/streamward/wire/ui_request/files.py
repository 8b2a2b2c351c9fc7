"""Files in UI messages: http(s) and data URLs to the parts a model reads."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes, urlsplit

from streamward.call import Audio, Document, Image, Text
from streamward.errors import InvalidRequest

AUDIO_FORMATS = {"audio/wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
"""Audio that Chat Completions takes, by media type."""


def file_part(url: str, media_type: str | None, filename: str | None, *, param: str) -> Image | Audio | Document:
    """An image, audio or a document from its URL; *media_type* as the browser says it, else as the data URL does."""
    scheme = scheme_of(url, param)
    if scheme != "data":
        if media_type is not None and media_type.startswith("image/"):
            return Image(url=url, media_type=media_type)
        if media_type is None:
            raise InvalidRequest(f"{param}: a file that is not an image must say its media type", param=param)
        return Document(url=url, media_type=media_type, filename=filename)
    stated, data = split_data_url(url, param)
    media_type = media_type or stated
    if media_type.startswith("image/"):
        return Image(data=data, media_type=media_type)
    if media_type in AUDIO_FORMATS:
        return Audio(data, AUDIO_FORMATS[media_type])
    return Document(data=data, media_type=media_type, filename=filename)


def attachment_part(url: str, media_type: str | None, filename: str | None, *, param: str) -> Text | Image | Audio | Document:
    """The same for attachments of AI SDK 3 and 4, where text files become text."""
    if media_type is not None and media_type.startswith("text/") and scheme_of(url, param) == "data":
        return Text(base64.b64decode(split_data_url(url, param)[1]).decode("utf-8", "replace"))
    return file_part(url, media_type, filename, param=param)


def scheme_of(url: str, param: str) -> str:
    """``http``, ``https`` or ``data``; nothing else may be fetched or decoded."""
    try:
        split = urlsplit(url[:2048])
        scheme = split.scheme if split.netloc or split.scheme == "data" else ""
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https", "data"):
        raise InvalidRequest(f"{param}: expected an http, https or data URL, got {url[:40]!r}", param=param)
    return scheme


def split_data_url(url: str, param: str) -> tuple[str, str]:
    """Media type and base64 content of a data URL."""
    head, comma, content = url.partition(",")
    media_type, *flags = head.removeprefix("data:").split(";")
    if not comma:
        raise InvalidRequest(f"{param}: the data URL has no content", param=param)
    if "base64" not in flags:
        return media_type or "text/plain", base64.b64encode(unquote_to_bytes(content)).decode()
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{param}: the data URL is not valid base64", param=param) from None
    return media_type or "text/plain", content
