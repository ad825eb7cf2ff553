"""A Redis of a test's own, which may be stopped, killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from core.settings.features import FeatureStoreSettings


class OwnRedis:
    """A server that keeps everything on the disk, on a port of its own. Skips the test where there is none to start.

    Args:
        folder: Where it keeps its data.
    """

    def __init__(self, folder: Path) -> None:
        server = shutil.which("redis-server")
        if server is None:
            pytest.skip("no redis-server on the path")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = folder
        self._command = [
            server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
            "--appendfsync", "always",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> FeatureStoreSettings:
        """Of a feature store whose online part it is."""
        return FeatureStoreSettings(online="redis", redis=f"127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start it with what it kept, and wait until it answers."""
        from redis import Redis
        from redis.exceptions import RedisError

        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                Redis(port=self.port, socket_timeout=1).ping()
                return
            except RedisError:
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.05)

    def hang(self) -> None:
        """Stop it: it takes connections, and answers nothing."""
        self._running.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it: nothing listens any more."""
        self._running.kill()
        self._running.wait(10)
        self._process = None

    def lose(self) -> None:
        """Have it come back with nothing."""
        self.kill()
        shutil.rmtree(self._folder)
        self.start()

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self._process is not None:
            self.kill()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process
