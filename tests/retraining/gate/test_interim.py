"""Looks add up like their rows, and come back from JSON as they were."""

from __future__ import annotations

import json

import pytest

from batchlearn.retraining.interim import InterimAnalyses, InterimAnalysis


def test_two_looks_as_one_are_the_mean_of_their_rows() -> None:
    found = InterimAnalysis(10, 5.0, 0.2, 0.4).joined(InterimAnalysis(30, 15.0, 0.6, 0.0))
    assert (found.rows, found.weight) == (40, 20.0)
    assert (found.champion, found.challenger) == pytest.approx((0.5, 0.1))


def test_a_small_last_look_grows_with_the_next() -> None:
    analyses = InterimAnalyses()
    for rows in (19, 1, 20, 5):
        analyses = analyses.added(InterimAnalysis(rows, float(rows), 1.0, 0.5), {"a": rows}, None)
    assert [look.rows for look in analyses.analyses] == [20, 20, 5]
    assert analyses.rows == 45
    assert analyses.classes == {"a": 45}


def test_the_latest_time_is_kept() -> None:
    analyses = (
        InterimAnalyses()
        .added(InterimAnalysis(20, 20.0, 1.0, 1.0), None, 3.0)
        .added(InterimAnalysis(20, 20.0, 1.0, 1.0), None, None)
    )
    assert analyses.until == 3.0
    assert analyses.added(InterimAnalysis(20, 20.0, 1.0, 1.0), None, 5.0).until == 5.0


def test_json_gives_the_same_looks() -> None:
    analyses = InterimAnalyses().added(InterimAnalysis(25, 24.5, 0.1 + 0.2, 1 / 3), {"no": 20, "yes": 5}, 1.7e15)
    assert InterimAnalyses.from_json(json.loads(json.dumps(analyses.to_json()))) == analyses
    assert InterimAnalyses.from_json(None) == InterimAnalyses()
