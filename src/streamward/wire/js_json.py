"""JSON text as JavaScript's ``JSON.stringify`` writes it, for the UI dialects, whose bytes are compared with it.

Unlike ``json_text.encode`` it leaves U+2028 and U+2029 raw, as the AI SDK does; its readers split on ``\\n`` only.
Never raises: what JSON cannot carry is shown as a string. Pure.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

encode_plain = msgspec.json.Encoder(enc_hook=str).encode

TOO_DEEP = b'"[value nested too deeply]"'


def encode(value: Any) -> bytes:
    """*value* as compact JSON on one line; NaN and infinities are ``null``."""
    try:
        return encode_plain(value)
    except Exception:  # besides JSON's own limits, any object's __str__ may fail
        if type(value) is not dict:
            return encode_anyhow(value)
    # The frame around a bad value stays intact.
    return b"{%b}" % b",".join(b"%b:%b" % (encode_anyhow(str(key)), encode_anyhow(item)) for key, item in value.items())


def encode_anyhow(value: Any) -> bytes:
    """The same for values with lone surrogates (escaped, as JavaScript does) and for what is no JSON at all."""
    try:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
        return json.dumps(plain, separators=(",", ":")).encode()
    except RecursionError:
        return TOO_DEEP
    except Exception as exc:
        return encode_plain(f"[value of type {type(value).__name__} is not JSON: {type(exc).__name__}]")
