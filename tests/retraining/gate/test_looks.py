"""Looks add up like their rows, and come back from JSON as they were."""

from __future__ import annotations

import json

import pytest

from batchlearn.retraining.looks import Look, Looks


def test_two_looks_as_one_are_the_mean_of_their_rows() -> None:
    found = Look(10, 5.0, 0.2, 0.4).joined(Look(30, 15.0, 0.6, 0.0))
    assert (found.rows, found.weight) == (40, 20.0)
    assert (found.champion, found.challenger) == pytest.approx((0.5, 0.1))


def test_a_small_last_look_grows_with_the_next() -> None:
    looks = Looks()
    for rows in (19, 1, 20, 5):
        looks = looks.added(Look(rows, float(rows), 1.0, 0.5), {"a": rows}, None)
    assert [look.rows for look in looks.looks] == [20, 20, 5]
    assert looks.rows == 45
    assert looks.classes == {"a": 45}


def test_the_latest_time_is_kept() -> None:
    looks = Looks().added(Look(20, 20.0, 1.0, 1.0), None, 3.0).added(Look(20, 20.0, 1.0, 1.0), None, None)
    assert looks.until == 3.0
    assert looks.added(Look(20, 20.0, 1.0, 1.0), None, 5.0).until == 5.0


def test_json_gives_the_same_looks() -> None:
    looks = Looks().added(Look(25, 24.5, 0.1 + 0.2, 1 / 3), {"no": 20, "yes": 5}, 1.7e15)
    assert Looks.from_json(json.loads(json.dumps(looks.to_json()))) == looks
    assert Looks.from_json(None) == Looks()
