"""What the UI hooks post: messages of every AI SDK generation, recognised and turned into canonical ones.

Pure and strict: what is malformed raises InvalidRequest with the path of the field. The answer to such a request is
the business of ``ui_message`` (5 to 7), ``data_stream`` (3 and 4) and ``text``.
"""

from streamward.wire.ui_request.convert import Converted, OnOpenCall, answer, convert_messages, without_tools
from streamward.wire.ui_request.modern import DENIED, Approval, ConvertData
from streamward.wire.ui_request.request import Generation, UiRequest, generation, parse_request

__all__ = [
    "DENIED",
    "Approval",
    "ConvertData",
    "Converted",
    "Generation",
    "OnOpenCall",
    "UiRequest",
    "answer",
    "convert_messages",
    "generation",
    "parse_request",
    "without_tools",
]
