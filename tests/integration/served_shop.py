"""The deployments of a tiny shop, served by a process as `sommelier up` has it."""

import signal
import subprocess
import sys
import time
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from core.layout import Layout
from core.logs.timeline import Timeline
from core.settings.loading import load_settings
from flows.platform.deployments import deployment_name
from tests.integration.conftest import small_overrides

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class ServedShop:
    """Within `temporary_settings` that name the server.

    Args:
        work_dir: The work folder.
        shop: The shop's name.
        recipe: Of its deployments.
        flow_environment: The fixture.
        overrides: More settings of the processes that run flows.
    """

    def __init__(self, work_dir, shop, recipe, flow_environment, overrides=()):
        self.shop, self.recipe = shop, recipe
        self.settings = load_settings(overrides=[*small_overrides(work_dir), *overrides, f'shop="{shop}"'])
        self.layout = Layout(work_dir, shop)
        self.timeline = Timeline(self.layout.timeline)
        file = work_dir / "recipe.json"
        file.write_text(recipe.model_dump_json(), encoding="utf-8")
        self.log = (work_dir / "runner.log").open("w")
        self.environment = flow_environment(self.settings)
        self.runner = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve-flows", str(file), "--revision", "r1"],
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.client = get_client(sync_client=True)
        self.wait(lambda: self._deployment("forget"))

    def close(self):
        self.runner.send_signal(signal.SIGTERM)
        self.runner.wait(60)
        self.log.close()

    def start(self, flow, **changes):
        """Begin a run, with parameters other than the deployment's."""
        deployment = self._deployment(flow)
        given = {"params": deployment.parameters["params"] | changes} if changes else None
        return self.client.create_flow_run_from_deployment(deployment.id, parameters=given).id

    def state_of(self, run):
        return self.client.read_flow_run(UUID(str(run))).state

    def end_of(self, run):
        def ended():
            state = self.state_of(run)
            return state if state.type.value in ENDED else None

        return self.wait(ended)

    def wait_for(self, kind, *states):
        """The newest entry of a kind, once it has one of these states."""

        def there():
            entry = self.timeline.newest(kind)
            assert entry is None or entry.state not in ("failed", "crashed"), entry.says
            return entry if entry is not None and entry.state in states else None

        return self.wait(there)

    def wait(self, find, timeout_s=240):
        """What `find` gives, once it gives something."""
        deadline = time.monotonic() + timeout_s
        while not (found := find()):
            assert self.runner.poll() is None, "the runner ended"
            assert time.monotonic() < deadline, [entry.says for entry in self.timeline.read()]
            time.sleep(0.2)
        return found

    def _deployment(self, flow):
        try:
            return self.client.read_deployment_by_name(deployment_name(flow, self.shop))
        except ObjectNotFound:
            return None
