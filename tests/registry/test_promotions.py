from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.made import environment
from tests.registry.made import WHY, one_more, promote_all, store_with

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError, UsageError
from batchlearn.registry.promotions import champion, live_stack, promote, promotions, rollback

# How to run 2,000 tries a process: BATCHLEARN_RACE_TRIES=2000 pytest tests/registry/test_promotions.py -k writers
PROCESSES, PROMOTIONS = 8, int(os.environ.get("BATCHLEARN_RACE_TRIES", "200"))


def test_nobody_is_live_before_the_first_promotion(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2)
    assert champion(store) is None
    promote(store, 2, WHY, None)
    stands = champion(store)
    assert stands is not None
    assert (stands.generation, stands.version, stands.before, stands.kind) == (1, 2, None, "promote")
    assert stands.reason == WHY


def test_the_one_who_did_not_see_the_last_promotion_loses(tmp_path: Path) -> None:
    store = store_with(tmp_path, 3)
    seen_by_both = promote(store, 1, WHY, None)
    promote(store, 2, WHY, seen_by_both)
    with pytest.raises(RegistryError, match="ann made version 2 live in the meantime") as refusal:
        promote(store, 3, WHY, seen_by_both)
    assert refusal.value.code == "promotion-conflict"
    stands = champion(store)
    assert stands is not None
    assert stands.version == 2


def test_what_is_live_is_not_promoted_again_and_what_is_not_there_not_at_all(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2)
    first = promote(store, 1, WHY, None)
    with pytest.raises(UsageError, match="live already"):
        promote(store, 1, WHY, first)
    with pytest.raises(UsageError, match="There is no version 7; there are 1 to 2"):
        promote(store, 7, WHY, first)
    assert [one.version for one in promotions(store)] == [1]


def test_rollbacks_go_back_one_tenure_after_the_other(tmp_path: Path) -> None:
    store = store_with(tmp_path, 4)
    promote_all(store, 1, 3, 2, 4)
    gone = []
    for _ in range(3):
        stands = champion(store)
        assert stands is not None
        gone.append(rollback(store, WHY, stands).version)
    assert gone == [2, 3, 1]
    stands = champion(store)
    assert stands is not None
    with pytest.raises(UsageError, match="No version was live before version 1"):
        rollback(store, WHY, stands)
    assert [one.kind for one in promotions(store)] == ["promote"] * 4 + ["rollback"] * 3


def test_each_promotion_and_rollback_takes_less_than_a_second(tmp_path: Path) -> None:
    """RELIABILITY P14; benchmarks/registry_times.py times 200 of each as commands, half of them under load."""
    store = store_with(tmp_path, 2)
    promote_all(store, 1)
    longest = 0.0
    for _ in range(20):
        began = time.perf_counter()
        promoted = promote(store, 2, WHY, champion(store))
        halfway = time.perf_counter()
        rollback(store, WHY, promoted)
        longest = max(longest, halfway - began, time.perf_counter() - halfway)
    assert longest < 1.0
    assert len(promotions(store)) == 41


def test_a_rollback_may_name_an_earlier_champion_and_only_such(tmp_path: Path) -> None:
    store = store_with(tmp_path, 4)
    stands = promote_all(store, 1, 2, 3)[-1]
    with pytest.raises(UsageError, match="Version 4 was not live before version 3; roll back to one of 1, 2"):
        rollback(store, WHY, stands, to=4)
    assert rollback(store, WHY, stands, to=1).version == 1
    assert live_stack(promotions(store)) == [1]
    promote(store, 4, WHY, champion(store))
    assert live_stack(promotions(store)) == [1, 4]


def test_a_version_that_was_altered_is_not_promoted_or_rolled_back_to(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2)
    stands = promote_all(store, 1, 2)[-1]
    weights = store.path("versions/000001") / "model" / "weights.safetensors"
    weights.write_bytes(b"\x01" + weights.read_bytes()[1:])
    with pytest.raises(IntegrityError, match="altered after it was registered"):
        rollback(store, WHY, stands)
    assert champion(store) == stands


def test_a_missing_generation_is_named_and_nothing_is_promoted(tmp_path: Path) -> None:
    store = store_with(tmp_path, 3)
    promote_all(store, 1, 2, 3)
    store.path("promotions/000002.json").unlink()
    with pytest.raises(RegistryError, match="number 2 is missing") as refusal:
        champion(store)
    assert (refusal.value.code, refusal.value.exit_code) == ("registry-gap", 4)


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "swap", "append"])
def test_a_record_that_was_altered_is_refused(spoil: str, tmp_path: Path) -> None:
    store = store_with(tmp_path, 3)
    promote_all(store, 1, 2, 3)
    last, other = store.path("promotions/000003.json"), store.path("promotions/000002.json")
    data = last.read_bytes()
    place = data.index(b'"version": 3') + len('"version": ')
    new = {
        "flip": data[:place] + b"2" + data[place + 1 :],
        "cut": data[: len(data) // 2],
        "empty": b"",
        "swap": other.read_bytes(),
        "append": data + b"{}",
    }[spoil]
    last.write_bytes(new)
    with pytest.raises(IntegrityError) as refusal:
        champion(store)
    assert refusal.value.code == "registry-damaged"


def test_a_rewritten_past_is_noticed(tmp_path: Path) -> None:
    store, other = store_with(tmp_path / "a", 2), store_with(tmp_path / "b", 2)
    promote_all(store, 1, 2)
    promote_all(other, 2, 1)
    store.path("promotions/000001.json").write_bytes(other.path("promotions/000001.json").read_bytes())
    with pytest.raises(IntegrityError, match="does not follow on the record before"):
        promotions(store)


def test_of_many_writers_one_wins_each_generation(tmp_path: Path) -> None:
    """RELIABILITY P1 (c)."""
    store_with(tmp_path, 2)
    command = [sys.executable, "-m", "tests.registry.racer", str(tmp_path), str(PROMOTIONS)]
    folder = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    results = [json.loads(one.communicate(timeout=600)[0]) for one in running]
    assert [len(won) + lost for won, lost in results] == [PROMOTIONS] * PROCESSES
    numbers = sorted(number for won, _ in results for number in won)
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(lost for _, lost in results) > 0, "nobody met anybody"
    history = promotions(FolderStore(tmp_path))
    assert [one.generation for one in history] == numbers
    assert [one.before for one in history[1:]] == [one.version for one in history[:-1]]


def test_registering_at_once_gives_each_a_number_of_its_own(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    numbers = [one_more(store, seed).number for seed in range(5)]
    assert numbers == [1, 2, 3, 4, 5]


def test_errors_of_the_registry_are_ours(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    store.path("versions/000001").rename(tmp_path / "versions" / "000005")
    with pytest.raises(BatchlearnError):
        promote(store, 5, WHY, None)
