"""A chat in the terminal: `MODEL=anthropic/claude-sonnet-4-5 python examples/terminal_chat.py`. Ctrl-C stops an answer."""

import os
from typing import Any

from streamward.sync import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


def main() -> None:
    messages: list[Any] = []
    while True:
        try:
            question = input("> ")
        except (EOFError, KeyboardInterrupt):
            return
        messages.append({"role": "user", "content": question})
        told: list[str] = []
        try:
            for text in stream_text(MODEL, messages=messages).text_stream:
                told.append(text)
                print(text, end="", flush=True)
        except KeyboardInterrupt:
            pass  # what was said stays
        print()
        messages.append({"role": "assistant", "content": "".join(told)})


if __name__ == "__main__":
    main()
