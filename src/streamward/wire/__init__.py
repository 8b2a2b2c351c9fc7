"""Bytes and JSON of every dialect, in both directions. Pure: no I/O, no clock, no randomness.

``streamward.wire.dialect`` says what a dialect module offers; ``streamward.wire.table`` lists them.
"""
