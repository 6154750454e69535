from __future__ import annotations

import os
from pathlib import Path

from tests.cli.made import Run, one_object


def test_the_demo_certifies_verifies_and_notices_tampering(run: Run, here: Path) -> None:
    before = sorted(os.listdir(here))
    code, out, err = run("demo", "--json")
    found = one_object(out)
    assert (code, err) == (0, "")
    assert found["train"]["certificate"]["status"] == "certified"
    assert found["train"]["rows"]["used"] == 569
    assert found["verify"]["holds"] is True
    assert found["tampered"]["holds"] is False
    metrics, constant = found["train"]["evaluation"]["metrics"], found["train"]["evaluation"]["baselines"]["constant"]
    assert metrics["log_loss"]["high"] < constant["log_loss"]["low"]
    assert sorted(os.listdir(here)) == before


def test_the_demo_reads_as_a_story(run: Run) -> None:
    code, out, _ = run("demo")
    assert code == 0
    for part in ("1. Train", "certified", "2. Evaluate", "3. Verify", "holds.", "4. Tamper", "does not hold any more"):
        assert part in out
    assert "a fault of ours" not in out


def test_the_demo_keeps_its_files_where_asked(run: Run) -> None:
    code, out, _ = run("demo", "--output", "kept")
    assert code == 0
    commands = [line.split() for line in out.splitlines() if line.startswith("  batchlearn verify")]
    assert commands
    assert run(*commands[0][1:])[0] == 0
    assert run("demo", "--output", "kept")[0] == 2
    assert run("demo", "--output", "none/kept")[0] == 2
