"""The documents tell the truth about the tree."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_place_in_the_where_table_exists():
    """Each path of ARCHITECTURE.md's "Where is ...?" table is a file or folder."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.split("## Where is ...?")[1]
    paths = re.findall(r"`([\w./-]+)`", table)

    missing = [path for path in paths if not (ROOT / path).exists()]

    assert len(paths) > 30
    assert missing == []


def test_every_room_of_the_package_is_in_the_table():
    """A folder of the package that the table does not name is a place nobody will find."""
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## Where is ...?")[1]
    rooms = [path for path in (ROOT / "src/streamward").iterdir() if path.is_dir() and (path / "__init__.py").exists()]

    unnamed = [room.name for room in rooms if f"src/streamward/{room.name}/" not in table]

    assert rooms
    assert unnamed == []


def test_importing_the_package_touches_nothing():
    """`import streamward` costs under 0.15 s of CPU and opens no socket, file outside the package, or variable."""
    code = (
        "import sys, time\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(('socket.', 'subprocess.')) else None)\n"
        "started = time.process_time()\n"
        "import streamward\n"
        "print(time.process_time() - started, len(seen), 'asyncio' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert float(out[0]) < 0.15
    assert out[1:] == ["0", "False"]
