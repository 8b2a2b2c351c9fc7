"""A real PostgreSQL server for tests, in a directory of its own, on a Unix socket (no port to race for)."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PORT = 5432  # only names the socket file


def server_binaries() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are; None when PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    on_path = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class PostgresServer:
    """Trusts whoever may open the socket. PostgreSQL refuses to run as root: then it runs as its own user."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        # Not pytest's directory: a Unix socket's path may have 107 bytes only.
        self.directory = Path(tempfile.mkdtemp(prefix="sw-pg-"))
        self.user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.data = self.directory / "data"
        self.url = f"postgresql://{self.user}@/postgres?host={self.directory}&port={PORT}"

    def start(self) -> PostgresServer:
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres")
        self._run("initdb", "-D", str(self.data), "-U", self.user, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.boot()
        return self

    def boot(self) -> None:
        options = f"-k {self.directory} -p {PORT} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self.directory / "log"), "-w", "start")

    def halt(self) -> None:
        """Stop at once, as a crash does."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # pg_ctl's server keeps what it inherits: with pipes, waiting for their end would wait for the server.
        with (self.directory / "output").open("w+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", timeout=60)
            output.seek(0)
            assert done.returncode == 0, output.read()
