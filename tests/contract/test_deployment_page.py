"""What the page of deployment has a reader type, with a stand-in for BentoML."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.contract.documents import DOCS, fenced, read


def test_a_bento_is_served_anew_and_the_shell_forgets_its_folders(tmp_path: Path) -> None:
    (block,) = (one for one in fenced(read(DOCS / "deployment.md")) if "bentoml serve" in one)
    for name, version in (("first", "1"), ("second", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version").write_text(version)
    (tmp_path / "elsewhere").mkdir()
    program = tmp_path / ".venv" / "bin" / "bentoml"
    program.parent.mkdir(parents=True)
    program.write_text(
        '#!/bin/sh\nif [ "$1" = get ]; then echo "$BENTO"; else\n'
        'echo "$1 $2 $(cat $2/version) $SOMMELIER_SHOP $SOMMELIER_WORK_DIR $BENTOML_HOME"; fi\n'
    )
    program.chmod(0o755)
    script = f"shop=orders\nexport BENTO=first\n{block}\nexport BENTO=second\n{block}\n"
    script += 'echo "left: $SOMMELIER_SHOP$SOMMELIER_WORK_DIR$BENTOML_HOME"'
    done = subprocess.run(
        ["bash", "-euc", f"unset SOMMELIER_SHOP SOMMELIER_WORK_DIR BENTOML_HOME; set +u; {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    copy = tmp_path / "elsewhere"
    served = [f"serve elsewhere/bento {version} orders {copy} {copy}/bentoml" for version in "12"]
    assert done.stdout.splitlines() == [*served, "left: "]
