"""Champion and challenger are judged by the proper score of their target, whatever it is, on rows with labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import ROWS, SETTINGS_TEXT, add_days, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import DataError
from batchlearn.kernels.design import Floats
from batchlearn.registry.loading import load_version
from batchlearn.registry.promotions import Reason, champion, promote
from batchlearn.registry.version import KEPT, read_version
from batchlearn.tables.conditions import After, And, Condition
from batchlearn.tables.table import Scan, Table, read
from batchlearn.training.evaluate import evaluate

PLAIN = ("squared", "poisson", "gamma")
WITHOUT_A_LABEL_TIME = {'labelled = "known"\ndrop = ["user"]': 'drop = ["user", "known"]'}


def labels(kind: str, size: Floats, rng: np.random.Generator) -> pa.Array:
    if kind == "three classes":
        score = np.column_stack([size, -size, np.zeros(len(size))]) + rng.gumbel(size=(len(size), 3))
        return pa.array(np.array(["low", "high", "middle"])[score.argmax(axis=1)])
    mean = np.exp(0.5 * size)
    drawn = {
        "squared": size + rng.normal(size=len(size)),
        "huber": size + rng.standard_t(2.0, len(size)),
        "poisson": rng.poisson(mean),
        "gamma": rng.gamma(2.0, mean / 2.0),
        "tweedie": np.where(rng.random(len(size)) < 0.3, 0.0, rng.gamma(2.0, mean)),
    }
    return pa.array(drawn[kind])


def add_rows(root: Path, kind: str, first: int, last: int, slope: float) -> None:
    table = orders(first, last)
    label = labels(kind, slope * np.asarray(table["size"]), np.random.default_rng([1, first]))
    place = table.schema.get_field_index("bought")
    pq.write_table(table.set_column(place, "bought", label), root / "data" / f"{first:03d}.parquet")


@pytest.mark.parametrize("start", ["scratch", "warm"])
@pytest.mark.parametrize(
    ("kind", "score"),
    [
        ("three classes", "log_loss"),
        ("squared", "mse"),
        ("huber", "huber_loss"),
        ("poisson", "poisson_deviance"),
        ("gamma", "gamma_deviance"),
        ("tweedie", "tweedie_deviance"),
    ],
)
def test_each_target_is_judged_by_its_own_score(kind: str, score: str, start: str, tmp_path: Path) -> None:
    loss = "" if kind == "three classes" else f'loss = "{kind}"\n'
    changes = {"[recipe]\n": f"[recipe]\n{loss}", "rows = 300": f'rows = 300\nstart = "{start}"'}
    root = make_project(tmp_path, SETTINGS_TEXT, changes)
    add_rows(root, kind, 0, 10, slope=1.0)
    assert turn(root, day(13)).promoted
    add_rows(root, kind, 10, 30, slope=-1.0)
    second = turn(root, day(33))
    assert second.gate is not None
    assert (second.gate.verdict, second.gate.rows) == ("promote", 4 * ROWS)
    store = FolderStore(root)
    # Totals of a loss with a number of its own would be read back as those of another one.
    assert (KEPT in read_version(store, 1).sizes) == (second.bracket is not None) == (kind in PLAIN)
    later = read(root / "data", target="bought", time="seen", drop=["user", "known"], where="seen >= '2026-01-27'")
    champion = evaluate(load_version(store, read_version(store, 1)).model, later).to_json()
    twin = read_version(store, 2).description["evaluation"]
    if kind in ("huber", "tweedie"):  # the champion's threshold or power is another one, and the score with it
        assert second.gate.difference is not None
        assert second.gate.difference < 0.0
    else:
        apart = twin["metrics"][score]["value"] - champion["metrics"][score]["value"]
        assert second.gate.difference == pytest.approx(apart, rel=1e-9)


@pytest.mark.parametrize("changes", [None, WITHOUT_A_LABEL_TIME], ids=["a time of the label", "none"])
def test_rows_without_a_label_do_not_judge(changes: dict[str, str] | None, tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, changes)
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    later = orders(14, 30, slope=-1.5)
    waiting = np.asarray(later["seen"]) >= np.datetime64("2026-01-25")
    label = pa.array(np.asarray(later["bought"]), mask=waiting)
    place = later.schema.get_field_index("bought")
    pq.write_table(later.set_column(place, "bought", label), root / "data" / "later.parquet")
    second = turn(root, day(33))
    assert second.gate is not None
    assert second.gate.rows == 2 * ROWS
    assert second.gate.verdict == "promote"


def test_where_no_new_row_has_a_label_warm_trains_on_the_old_ones(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {**WITHOUT_A_LABEL_TIME, "rows = 300": 'rows = 300\nstart = "warm"'})
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    later = orders(14, 20)
    place = later.schema.get_field_index("bought")
    unknown = pa.nulls(later.num_rows, pa.bool_())
    pq.write_table(later.set_column(place, "bought", unknown), root / "data" / "later.parquet")
    second = turn(root, day(33), anyway=True)
    assert second.certificate is not None
    assert second.certificate["rows"] == 10 * ROWS
    assert second.gate is not None
    assert second.gate.verdict == "not enough evidence"


def test_rows_that_were_all_seen_at_once_cannot_judge_each_other(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    later = orders(14, 15)
    at = pa.array(np.full(len(later), np.datetime64("2026-01-15T12:00:00", "us")))
    pq.write_table(later.set_column(0, "seen", at), root / "data" / "later.parquet")
    second = turn(root, day(33), anyway=True)
    assert second.gate is not None
    assert "The 60 rows labelled since the champion was trained were all seen at one time" in second.gate.sentence


def test_what_rests_is_judged_when_it_has_rested(tmp_path: Path) -> None:
    """Mode "anytime" with labels that come before the wait is over: each row is looked at once, and none refused."""
    anytime = {
        'labelled = "known"': 'labelled = "known"\nwait = "10d"',
        "[policy]": '[gate]\nmode = "anytime"\n\n[policy]',
        'when = "rows"\nrows = 300': 'when = "every"\nperiod = "300d"',
    }
    root = make_project(tmp_path, SETTINGS_TEXT, anytime)
    add_days(root, 0, 30)
    assert turn(root, day(40)).promoted
    add_days(root, 30, 80)
    second = turn(root, day(50), anyway=True)
    assert second.gate is not None
    rows = []
    for number in (60, 70, 80):
        looked = turn(root, day(number)).gate
        assert looked is not None
        rows.append(looked.rows)
    assert rows == [10 * ROWS, 20 * ROWS, 30 * ROWS]


def test_a_challenger_of_an_earlier_champion_waits_no_longer(tmp_path: Path) -> None:
    anytime = {
        "[policy]": '[gate]\nmode = "anytime"\n\n[policy]',
        'when = "rows"\nrows = 300': 'when = "every"\nperiod = "300d"',
    }
    root = make_project(tmp_path, SETTINGS_TEXT, anytime)
    add_days(root, 0, 30)
    assert turn(root, day(33)).promoted
    add_days(root, 30, 60)
    assert turn(root, day(43), anyway=True).version == 2
    store = FolderStore(root)
    promote(store, 2, Reason("asked for", "ann", "2026-02-20T00:00:00Z", True), champion(store))
    looked = turn(root, day(53))
    assert (looked.decision, looked.version, looked.gate) == ("keep", None, None), "it would be judged against itself"


def test_a_warm_model_of_classes_knows_their_shares_of_now(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": 'rows = 300\nstart = "warm"'})
    add_rows(root, "three classes", 0, 10, slope=1.0)
    assert turn(root, day(13)).promoted
    table = orders(10, 30)
    rare = pa.array(
        np.where(np.arange(len(table)) % 10 < 7, "low", np.where(np.arange(len(table)) % 2, "high", "middle"))
    )
    pq.write_table(
        table.set_column(table.schema.get_field_index("bought"), "bought", rare), root / "data" / "010.parquet"
    )
    turn(root, day(33))
    model = load_version(FolderStore(root), read_version(FolderStore(root), 2)).model
    label = np.asarray(pq.read_table(root / "data")["bought"])
    assert model.class_shares == pytest.approx([float(np.mean(label == name)) for name in model.target.classes])


def test_the_twin_that_is_judged_has_seen_none_of_the_judging_rows(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    add_days(root, 10, 30, slope=-1.5)
    second = turn(root, day(33))
    cut = np.datetime64(next(note for note in map(str, second.notes) if note.startswith("Judged by")).split("'")[1])
    rows = pq.read_table(root / "data")
    earlier, later = (rows.filter(np.asarray(rows["seen"]) <= cut), rows.filter(np.asarray(rows["seen"]) > cut))

    def table(of: pa.Table) -> Table:
        return read(of, target="bought", time="seen", drop=["user", "known"])

    twin = bl.train(table(earlier), bl.Recipe(alpha=0.01, holdout=0.0)).model
    champion = load_version(FolderStore(root), read_version(FolderStore(root), 1)).model
    losses = [evaluate(one, table(later)).to_json()["metrics"]["log_loss"]["value"] for one in (twin, champion)]
    assert second.gate is not None
    assert second.gate.difference == pytest.approx(losses[0] - losses[1], rel=1e-9)


@pytest.mark.parametrize("start", ["scratch", "warm", "update", "fine-tune"])
@pytest.mark.parametrize(
    ("kind", "wrong", "code"), [("poisson", -3, "label-negative"), ("gamma", 0.0, "label-not-positive")]
)
def test_labels_that_the_loss_does_not_know_are_refused_by_every_start(
    kind: str, wrong: float, code: str, start: str, tmp_path: Path
) -> None:
    changes = {"[recipe]\n": f'[recipe]\nloss = "{kind}"\n', "rows = 300": f'rows = 300\nstart = "{start}"'}
    root = make_project(tmp_path, SETTINGS_TEXT, changes)
    add_rows(root, kind, 0, 10, slope=1.0)
    assert turn(root, day(13)).promoted
    add_rows(root, kind, 10, 30, slope=1.0)
    path = root / "data" / "010.parquet"
    table = pq.read_table(path)
    label = np.asarray(table["bought"]).copy()
    label[:50] = wrong  # among the rows that do not judge
    pq.write_table(table.set_column(table.schema.get_field_index("bought"), "bought", pa.array(label)), path)
    if start == "scratch":
        second = turn(root, day(33), dry_run=True)
        assert second.bracket is None
    with pytest.raises(DataError) as refusal:
        turn(root, day(33))
    assert refusal.value.code == code
    assert FolderStore(root).names("versions") == ["000001"]


def parts(condition: Condition | None) -> list[Condition | None]:
    """Return what has to hold, each by itself."""
    return [one for part in condition.parts for one in parts(part)] if isinstance(condition, And) else [condition]


@pytest.mark.parametrize("start", ["scratch", "warm"])
def test_a_turn_reads_the_judging_rows_once(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"'})
    add_days(root, 0, 10)
    turn(root, day(13))
    add_days(root, 10, 30, slope=-1.0)
    scans, scan = Counter[Condition | None](), Table.scan

    def counted(table: Table, columns: list[str]) -> Scan:
        scans[table.condition] += 1
        return scan(table, columns)

    monkeypatch.setattr(Table, "scan", counted)
    second = turn(root, day(33))
    assert second.gate is not None
    assert second.gate.rows == 4 * ROWS
    # They alone have to be seen after the cut.
    judging = [condition for condition in scans if any(isinstance(part, After) for part in parts(condition))]
    assert [scans[condition] for condition in judging] == [1]


def test_rows_without_what_they_need_are_set_aside_and_told(tmp_path: Path) -> None:
    roles = {'time = "seen"': 'time = "seen"\noffset = "size"\nweight = "user"', 'drop = ["user"]': "drop = []"}
    root = make_project(tmp_path, SETTINGS_TEXT, roles)

    def add(first: int, last: int) -> None:
        table = orders(first, last)
        place = table.schema.get_field_index("size")
        size = pa.array(np.asarray(table["size"]), mask=np.arange(len(table)) % 20 == 0)
        pq.write_table(table.set_column(place, "size", size), root / "data" / f"{first:03d}.parquet")

    add(0, 10)
    first = turn(root, day(13))
    assert first.promoted, "the sample rows that must be scored are rows that can be"
    users = np.asarray(orders(0, 10)["user"])
    unweighted = int((users == 0).sum())
    gone = int(((np.arange(len(users)) % 20 == 0) & (users != 0)).sum())
    (said,) = [note for note in map(str, first.notes) if note.startswith("Trained on")]
    assert said.endswith(f"set aside were {unweighted} for a weight of 0, {gone} for no offset.")
    add(10, 20)
    second = turn(root, day(23))
    assert second.gate is not None
    assert second.gate.rows > 0


def test_one_class_that_is_known_later_does_not_promote_by_the_other(tmp_path: Path) -> None:
    """The rarer class is known eight days late; looks wait so long, and the first say why they do."""
    changes = {
        "[policy]": '[gate]\nmode = "anytime"\n\n[policy]',
        'when = "rows"\nrows = 300': 'when = "every"\nperiod = "300d"',
    }
    root = make_project(tmp_path, SETTINGS_TEXT, changes)
    rows = orders(0, 60)
    late = np.asarray(rows["seen"]) + np.where(
        np.asarray(rows["bought"]), np.timedelta64(8, "D"), np.timedelta64(0, "D")
    )
    pq.write_table(
        rows.set_column(rows.schema.get_field_index("known"), "known", pa.array(late)), root / "data" / "0.parquet"
    )
    assert turn(root, day(20)).promoted
    second = turn(root, day(30), anyway=True)
    assert second.gate is not None
    waiting = turn(root, day(34))
    assert (waiting.gate, waiting.decision) == (None, "keep")
    assert any(str(note).startswith("Labels have taken up to 8 days") for note in waiting.notes)
    looked = turn(root, day(40))
    assert looked.gate is not None
    assert looked.gate.rows == 2 * ROWS  # seen on days 30 and 31, of either class
