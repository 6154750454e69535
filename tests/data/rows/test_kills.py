"""A training that is killed and begun again by the same call gives the model of one that nobody killed, to the bit."""

from __future__ import annotations

from contextlib import suppress
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from tests.data.rows.killed import CASES, Trainer, bits, table, trained
from tests.registry.disks import Killed, PowerModel, RecordingDisk, materialised

import batchlearn as bl
from batchlearn.data.rows.journal import Journal
from batchlearn.progress import finish
from batchlearn.training.fit import Fit
from batchlearn.training.train import iter_train

KILLS = 20
ROWS = {"size": [1.0, 2.0, 4.0, 3.0, 6.0], "y": [0.0, 1.0, 1.0, 0.0, 1.0]}


def test_twenty_kills_at_random_moments_change_no_bit(tmp_path: Path) -> None:
    """`python -m benchmarks.kills` does two hundred."""
    rng, kills, trainer = np.random.default_rng(1), 0, Trainer()
    for number, case in enumerate(cycle(CASES)):
        if kills >= KILLS:
            break
        folder = tmp_path / str(number)
        folder.mkdir()
        wanted, seconds = trainer.unkilled(case, folder / "unkilled")
        calls = list(trainer.lives(case, folder, seconds, rng))
        assert bits(folder / "model") == wanted
        kept = [call.answers for call in calls]
        assert kept == sorted(kept), "answers that had been written were lost"
        kills += sum(call.killed for call in calls)
    trainer.end()


@pytest.mark.parametrize("case", CASES)
def test_a_training_goes_on_wherever_it_ended(case: str, tmp_path: Path) -> None:
    """Ended after a share of its answers, again and again; whatever was answered is not computed again."""
    wanted, every = tmp_path / "wanted", Journal(tmp_path / "whole", seconds=0.0)
    trained(case, None).save(wanted)
    trained(case, every).save(tmp_path / "model")
    assert bits(tmp_path / "model") == bits(wanted)
    fit, computed = None, list[int]()
    while fit is None:
        journal = Journal(tmp_path / "kept", seconds=0.0, disk=RecordingDisk(tmp_path / "kept", last=80))
        with suppress(Killed):
            fit = trained(case, journal)
        computed.append(journal.computed)
    assert len(computed) > 1, "it was never ended"
    assert journal.answered + journal.computed == every.computed
    # Each end costs the one answer that was under way, or none.
    assert every.computed <= sum(computed) < every.computed + len(computed)
    fit.save(tmp_path / "again")
    assert bits(tmp_path / "again") == bits(wanted)


def test_stages_that_are_done_are_not_gone_through_again(tmp_path: Path) -> None:
    case, stages = "full batch, structure chosen", list[str]()
    kind, recipe = CASES[case]
    while not (tmp_path / "kept").is_dir() or len(list((tmp_path / "kept" / "journal").glob("0*.json"))) < 2:
        with suppress(Killed):
            trained(case, Journal(tmp_path / "kept", seconds=0.0, disk=RecordingDisk(tmp_path / "kept", last=60)))
    with Journal(tmp_path / "kept") as journal:
        work = iter_train(table(kind), recipe, threads=1, journal=journal)
        with suppress(StopIteration):
            while True:
                stages.append(next(work).stage)
    assert list(dict.fromkeys(stages))[-2:] == ["encoding all rows", "fitting all rows"]
    assert not [stage for stage in stages if "choosing" in stage or "earlier" in stage or "later" in stage]


def small(folder: Path, disk: RecordingDisk | None = None) -> tuple[Fit, Journal]:
    journal = Journal(folder, seconds=0.0) if disk is None else Journal(folder, seconds=0.0, disk=disk)
    with journal:
        recipe = bl.Recipe(alpha=0.1, holdout=0.0)
        fit = finish(iter_train(bl.read(ROWS, target="y"), recipe, threads=1, journal=journal))
    return fit, journal


def saved(fit: Fit, folder: Path) -> str:
    return bits(fit.save(folder))


def test_a_training_killed_before_any_operation_on_the_disk_goes_on(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = RecordingDisk(tmp_path / "whole")
    fit, journal = small(tmp_path / "whole" / "kept", whole)
    wanted = saved(fit, tmp_path / "wanted")
    answered = []
    for last in range(len(whole.ops)):
        root = tmp_path / str(last)
        root.mkdir()
        with pytest.raises(Killed):
            small(root / "kept", RecordingDisk(root, last=last))
        fit, again = small(root / "kept")
        assert saved(fit, root / "model") == wanted
        assert again.answered + again.computed == journal.computed
        assert again.damaged is None
        answered.append(again.answered)
    assert answered == sorted(answered)
    assert answered[0] == 0
    assert answered[-1] == journal.computed
    links = [number for number, op in enumerate(whole.ops) if op.name == "link" and "safetensors" in op.target]
    # What was given its name is there; nothing else is.
    assert answered == [sum(link < last for link in links) for last in range(len(whole.ops))]


def test_a_loss_of_power_leaves_what_a_training_goes_on_from(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "before").mkdir()
    whole = RecordingDisk(tmp_path / "whole")
    fit, _ = small(tmp_path / "whole" / "kept", whole)
    wanted, model, seen = saved(fit, tmp_path / "wanted"), PowerModel(tmp_path / "before"), set[str]()
    for op in whole.ops:
        model.apply(op)
        for state in model.states():
            if str(state) in seen:
                continue
            seen.add(str(state))
            root = tmp_path / f"state {len(seen)}"
            root.mkdir()
            fit, again = small(materialised(state, root) / "kept")
            assert again.damaged is None
            assert saved(fit, root / "model") == wanted
    assert len(seen) > 10
