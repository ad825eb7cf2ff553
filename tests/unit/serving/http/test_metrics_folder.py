"""Two services never count in one folder, and a killed one's is removed."""

import signal
import subprocess
import sys
from pathlib import Path

from serving.http.metrics_folder import own_folder

HOLD = """
import sys, time
from pathlib import Path
from serving.http.metrics_folder import own_folder
with own_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_services_beside_each_other_have_folders_of_their_own(tmp_path):
    with own_folder(tmp_path) as first:
        (first / "counter_1.db").touch()
        with own_folder(tmp_path) as second:
            assert first != second
            assert list(second.iterdir()) == []
        assert (first / "counter_1.db").exists()
        assert not second.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_service_left_goes_at_the_next_start(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    left = Path(killed.stdout.readline().strip())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.is_dir()
    with own_folder(tmp_path) as folder:
        assert not left.exists()
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}.lock"}
