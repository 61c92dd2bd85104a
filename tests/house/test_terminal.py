"""At a terminal there are bars, and a stranger's text does not drive it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_at_a_terminal(*arguments: str) -> tuple[int, str]:
    """Exit code, and all that the terminal was sent."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # how a terminal ends when nobody holds its other side
            process.wait(timeout=120)
        finally:
            os.close(ours)
    return process.returncode, shown.decode()


def test_a_build_shows_bars_and_hostile_names_stay_text(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "a\x1b[31mred\x07"
    folder.mkdir()
    shutil.copy(EXAMPLES / "not_gameplay" / "cartoon_bunny_loop.mp4", folder / "[bold]x\x1b]0;owned\x07.mp4")
    (folder / "[bold]x\x1b]0;owned\x07.info.json").write_text("no json")
    config = write_config([{"kind": "files", "path": str(folder)}])
    code, shown = run_at_a_terminal("build", str(config))
    assert code == 1, "a sidecar that cannot be read is not passed over"
    for stage in ("discover", "ingest", "publish"):
        assert stage in shown
    assert "note: " in shown
    assert "\x1b]0;" not in shown
    assert "\x1b[31mred" not in shown
    code, shown = run_at_a_terminal("verify", str(tmp_path / "dataset"))
    assert (code, "no fault" in shown) == (0, True)
