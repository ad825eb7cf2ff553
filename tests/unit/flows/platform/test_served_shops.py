"""The lock of a shop that is being served goes with the process that holds it."""

import signal
import subprocess
import sys

import pytest

from flows.errors import ShopTaken
from flows.platform.served_shops import (
    check_no_other_server,
    check_not_served,
    is_served,
    served_revision,
    serving,
)

HOLD = """
import sys, time
from pathlib import Path
from flows.platform.served_shops import serving
with serving(Path(sys.argv[1]), "of the child"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def shop(tmp_path):
    return tmp_path / "vineyard"


@pytest.fixture
def holder(shop):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(shop)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_shop_is_served_while_the_lock_is_held(shop):
    assert served_revision(shop) is None
    with serving(shop, "r1"):
        assert served_revision(shop) == "r1"
    assert not is_served(shop)
    check_not_served(shop)


def test_a_served_shop_is_refused_with_the_process_that_serves_it(shop, holder):
    assert served_revision(shop) == "of the child"
    with pytest.raises(ShopTaken, match=f"shop=vineyard, which process {holder.pid} serves"):
        check_not_served(shop)
    with pytest.raises(ShopTaken, match=str(holder.pid)), serving(shop, "r2"):
        pass
    assert served_revision(shop) == "of the child"


def test_a_killed_holder_leaves_no_lock(shop, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_served(shop)
    with serving(shop, "r2"):
        assert served_revision(shop) == "r2"


def test_a_second_server_on_the_database_of_a_served_shop_is_refused(shop, holder):
    with pytest.raises(ShopTaken, match=r"prefect_port=4299, while shop vineyard is served from another port"):
        check_no_other_server(shop.parent, 4299)
    holder.kill()
    holder.wait()
    check_no_other_server(shop.parent, 4299)
