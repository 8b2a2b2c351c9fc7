"""The benchmark harness: scenarios as data, targets as small classes, measured rounds, a table.

Standard library and rich only; Linux only (epoll, /proc). Start it with `python bench/run.py`.
"""
