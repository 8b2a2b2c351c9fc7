"""Capture files: what is kept, what never is, and what a broken file says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import InvalidRequest
from streamward.wire.lint import Capture, Read, dump, is_capture, load, public_url

READS = [Read(0.1, "data: Grü".encode()[:9]), Read(0.25, b"\xbc\n\n"), Read(0.5, b"data: [DONE]\n\n")]


def test_bytes_times_and_ending_survive_the_file():
    capture = Capture(
        url="http://h/v1", dialect="chat_completions", status=200, headers={"content-type": "text/event-stream"},
        head_at_s=0.05, reads=READS, ending="reset", ended_at_s=0.75, error="gone",
    )  # fmt: skip
    again = load(dump(capture))

    assert again == capture
    assert [set(json.loads(line)) - {"t"} for line in dump(capture)][2:5] == [{"base64"}, {"base64"}, {"text"}]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1)), max_size=20))
def test_any_bytes_at_any_time(pairs: list[tuple[int, bytes]]):
    reads = [Read(micros / 1e6, data) for micros, data in pairs]

    assert load(dump(Capture(reads=reads))).reads == reads


def test_no_secret_gets_into_the_file():
    capture = Capture(
        url="https://user:pass@host:1/v1beta/models/m:stream?key=SECRET",
        request_headers={"authorization": "Bearer SECRET", "x-api-key": "SECRET", "x-own": "SECRET", "accept": "a/b"},
        headers={"set-cookie": "SECRET", "content-type": "x/y"},
    )
    text = "".join(dump(capture))

    assert "SECRET" not in text
    assert "pass" not in text
    assert public_url(capture.url) == "https://host:1/v1beta/models/m:stream"
    assert is_capture(text)
    assert not is_capture('data: {"a":1}\n\n')


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty"),
        (["data: x"], "line 1"),
        (['{"streamward":"capture","version":9}'], "version 9"),
        (['{"streamward":"capture","version":1}', '{"t":1}'], "line 2"),
        (['{"streamward":"capture","version":1}', '{"t":1,"base64":"!"}'], "line 2"),
        (['{"streamward":"capture","version":1}', '{"t":1,"end":"maybe"}'], "maybe"),
    ],
)
def test_a_broken_file_names_its_line(lines: list[str], message: str):
    with pytest.raises(InvalidRequest, match=message):
        load(lines)
