"""One line per event, its fields readable, whatever stands in them."""

import logging

from streamward.gateway.logs import EventFormatter


def line(**extra: object) -> str:
    record = logging.makeLogRecord({"levelname": "INFO", "name": "a.b", "msg": "config_reloaded", **extra})
    return EventFormatter().format(record)


def test_fields_follow_the_event():
    assert line(file="x.toml", ms=3) == "INFO a.b config_reloaded file=x.toml ms=3"


def test_a_value_cannot_forge_a_line():
    assert line(reason="a\nERROR b") == 'INFO a.b config_reloaded reason="a\\nERROR b"'


def test_an_empty_value_is_visible():
    assert line(reason="") == 'INFO a.b config_reloaded reason=""'
