"""`python -m serving`: the service, with the options of `bentoml serve`, and with metrics of its own."""

import sys
from pathlib import Path

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml_cli.cli import cli

from serving.http.metrics_folder import own_folder


def main() -> None:
    """Serve until a signal comes."""
    with own_folder(Path(BentoMLContainer.bentoml_home.get()) / "metrics") as folder:
        # To be said before BentoML makes the folder and tells the workers: no setting of BentoML's does.
        BentoMLContainer.prometheus_multiproc_dir.set(str(folder))
        cli(["serve", "serving.service:Sommelier", *sys.argv[1:]], prog_name="python -m serving")


if __name__ == "__main__":
    main()
