"""Rules of streams on the wire: what a dialect demands, checked frame by frame on what really arrived. Pure.

``lint(capture)`` gives a report; ``capture`` reads and writes capture files. Reading from sockets is the command
line's business.
"""

from streamward.wire.lint.capture import Capture, Ending, Read, dump, is_capture, load, public_url
from streamward.wire.lint.finding import Finding, Report, Rule, RuleResult
from streamward.wire.lint.run import NAMES, Linted, detect, lint

__all__ = [
    "NAMES", "Capture", "Ending", "Finding", "Linted", "Read", "Report", "Rule", "RuleResult", "detect", "dump",
    "is_capture", "lint", "load", "public_url",
]  # fmt: skip
