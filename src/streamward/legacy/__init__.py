"""The helpers of AI SDK 2 and 3, for pages that still use ``ai/react`` of that time.

    stream = OpenAIStream(await client.chat.completions.create(model=..., messages=..., stream=True), version=2)
    return StreamingTextResponse(stream)

Names are the AI SDK's; callbacks and handlers have Python's spelling or JavaScript's. ``version`` says which hook reads:
3 (the default) sends lines, 2 plain text. New pages want ``stream_text`` and its response helpers instead.
"""

from streamward.legacy.assistant import AssistantResponse, experimental_AssistantResponse
from streamward.legacy.callbacks import Callbacks
from streamward.legacy.data import StreamData
from streamward.legacy.langchain import LangChainAdapter, LangChainStream
from streamward.legacy.openai import OpenAIStream
from streamward.legacy.providers import (
    AnthropicStream,
    AWSBedrockAnthropicMessagesStream,
    AWSBedrockAnthropicStream,
    AWSBedrockCohereStream,
    AWSBedrockLlama2Stream,
    CohereStream,
    GoogleGenerativeAIStream,
    HuggingFaceStream,
    InkeepStream,
    MistralStream,
    ReplicateStream,
)
from streamward.legacy.response import StreamingTextResponse, stream_to_response, streamToResponse
from streamward.legacy.stream import AIStream, LegacyStream

experimental_StreamData = StreamData  # noqa: N816

__all__ = [
    "AIStream", "AWSBedrockAnthropicMessagesStream", "AWSBedrockAnthropicStream", "AWSBedrockCohereStream",
    "AWSBedrockLlama2Stream", "AnthropicStream", "AssistantResponse", "Callbacks", "CohereStream",
    "GoogleGenerativeAIStream", "HuggingFaceStream", "InkeepStream", "LangChainAdapter", "LangChainStream", "LegacyStream",
    "MistralStream", "OpenAIStream", "ReplicateStream", "StreamData", "StreamingTextResponse",
    "experimental_AssistantResponse", "experimental_StreamData", "streamToResponse", "stream_to_response",
]  # fmt: skip
