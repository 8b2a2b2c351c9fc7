"""The access log never waits for whoever reads it."""

import contextlib
import io
import os

from streamward.gateway.records import MAX_BUFFERED, MAX_LOTS, AccessLog, Record


async def test_every_record_is_one_line():
    out = io.StringIO()
    log = AccessLog("json", out)

    for number in range(MAX_BUFFERED + 3):
        log.write(Record(id=f"sw_{number}"))
    log.close()

    assert len(out.getvalue().splitlines()) == MAX_BUFFERED + 3


async def test_a_reader_that_stopped_holds_nobody_up():
    """A full pipe blocks the writing thread only; what does not fit is dropped and counted."""
    reading, writing = os.pipe()
    lots = MAX_LOTS + 40

    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as pipe:  # closing it flushes once more
        log = AccessLog("json", pipe)
        for number in range(lots * MAX_BUFFERED):
            log.write(Record(id=f"sw_{number}", route="/v1/chat/completions", model="m" * 200))
        dropped = log.dropped
        os.close(reading)  # now the thread's write fails, and it ends
        log.close()

    assert dropped > 0
