from __future__ import annotations

import json
import math
from typing import Any

import pytest

from batchlearn.formatting.notes import Code, Note, all_recorded, joined, recorded, recorded_together

# What each code is about; a code that is new needs an entry here.
VALUES: dict[Code, dict[str, Any]] = {
    Code.LEFT_OUT: {"column": "{a}", "reason": "it is constant"},
    Code.REPEATED_ROWS: {"rows": 1234, "share": 0.98},
    Code.TAKEN_AS_NUMBER: {"column": "y", "values": 3, "counts": True},
    Code.POSITIVE_CLASS: {"label": "fraud", "other": "ok", "share": 0.03, "why": "rarer"},
    Code.TAKEN_AS_RATE: {"column": "claims", "exposure": "years"},
    Code.UNEQUAL_WEIGHTS: {"rows": 100, "effective": 3.2},
    Code.CLASS_WEIGHTS: {"weights": {"no": 1.0, "yes": 5.0}},
    Code.RARE_CLASS: {"rows": 1, "of": 400, "label": "yes"},
    Code.MORE_COEFFICIENTS_THAN_ROWS: {"coefficients": 300, "rows": 200},
    Code.HASHED_LEVELS: {"column": "code", "levels": 512, "buckets": 128},
    Code.NO_FEATURE: {},
    Code.LEVELS_BY_CASE: {"column": "city", "levels": ["PARIS", "Paris"], "sets": 3},
    Code.MISSING_NUMBERS: {"shares": {"a": 0.1, "b": 0.02}},
    Code.TINY_NUMBERS: {"columns": ["a", "b"]},
    Code.SAME_COLUMNS: {"first": "a", "second": "b"},
    Code.MORE_SAME_COLUMNS: {"pairs": 5},
    Code.HUBER_THRESHOLD: {"threshold": 1.5, "factor": 1.345, "rows": 900},
    Code.TWEEDIE_POWER: {"power": 1.99, "rows": 900, "dispersion": 2.0, "near": "gamma"},
    Code.TWEEDIE_POWER_UNKNOWN: {"power": 1.5},
    Code.NOTHING_HELD_OUT: {},
    Code.SAMPLED: {"rows": 100, "of": 400, "seed": 0},
    Code.COMPARED_ON: {"rows": 80, "held_out": 20, "how": "random rows"},
    Code.COMPARED_TERMS: {"coefficients": 4, "model": "additive", "alpha": None},
    Code.OPTIMUM_OUT_OF_TIME: {"seconds": 30.0},
    Code.COMPARISON_OUT_OF_TIME: {"seconds": 75.0},
    Code.MODEL_TOLD_APART: {
        **{"metric": "log_loss", "other": "linear", "difference": -0.02, "low": -0.03, "high": -0.01},
        "certified": True,
    },
    Code.MODEL_AS_GOOD: {
        **{"metric": "log_loss", "other": "lightgbm.LGBMClassifier", "difference": 0.01, "low": -0.03, "high": 0.05},
        "certified": False,
    },
    Code.HELD_OUT: {"by": "random", "how": "random rows", "rows": 80, "of": 400},
    Code.ONE_LABEL: {"label": 0.0, "column": "y"},
    Code.NOT_EVALUATED: {"refusal": "There are no rows."},
    Code.CLASSES_NOT_EARLIER: {"rows": 10},
    Code.GROUPS_ON_BOTH_SIDES: {"both": 3, "late": 9, "column": "who"},
    Code.ONE_CLASS_HELD_OUT: {"label": 1.0},
    Code.CLASSES_NEVER_SEEN: {"rows": 3, "of": 200, "classes": {"n/a": 3}, "loss": 34.5},
    Code.BASELINE_NOT_TOLD: {"baseline": "last_value"},
    Code.BASELINE_BETTER: {"baseline": "constant", "metric": "log_loss", "difference": 0.2, "low": 0.1, "high": 0.3},
    Code.BASELINE_NOT_BEATEN: {"baseline": "mine", "metric": "mse", "difference": 0.0, "low": -0.1, "high": 0.1},
    Code.THRESHOLD_NOT_CHEAPER: {"threshold": 0.25, "than": "always yes", "saved": 0.0, "low": None, "high": None},
    Code.TRAINED_UNDER_CONDITION: {"condition": "size < 2"},
    Code.NOTHING_PROVED: {"reason": "the time for a solver was spent"},
    Code.WARM_START: {"rows": 300, "loss_bound": 1e-9, "prediction_bound": None},
    Code.UPDATED: {"rows": 300, "loss_bound": 1e-9, "readings": 2, "some_went": True},
    Code.UPDATE_ESTIMATED: {"lower": 0.1, "more": 0.2},
    Code.FINE_TUNED: {"loss_bound": 1e-3, "predictor_bound": 0.1},
    Code.FINE_TUNED_UNPROVED: {"left": 0.2},
    Code.ENCODING_OUTGROWN: {
        "reason": {"code": "new_group", "values": {"rows": 9, "entry": "month", "of": "'seen'"}},
    },
    Code.START_FELL_BACK: {
        **{"asked": "update", "start": "warm", "of": "version"},
        **{"code": "past-changed", "refusal": "There are 1,860 rows."},
    },
    Code.NEW_LEVEL: {"level": "teal", "column": "colour", "rows": 1200},
    Code.NEW_GROUP: {"rows": 1200, "entry": "month", "of": "'seen'"},
    Code.NEW_SCALE: {"column": "'size'", "times": 3.61},
    Code.LATE_LABELS: {"share": 0.1, "since": "2024-01-01"},
    Code.FILES_EMPTY: {"file": "data/2024-01-07.parquet", "others": 2},
    Code.ROWS_NOT_FETCHED: {"rows": 1200, "column": "known_at", "share": None},
    Code.ROWS_WITHOUT_TIME: {"rows": 7, "column": "at"},
    Code.NOT_FORGOTTEN: {"version": 1, "where": "user = 7"},
    Code.NO_BRACKET: {"why": "There are no rows."},
    Code.NO_BRACKET_WITHOUT_TOTALS: {},
    Code.NO_BRACKET_TOTALS_PRUNED: {},
    Code.BRACKET: {"bracket": "A training on all rows would gain nothing."},
    Code.JUDGED_BY_LATER_ROWS: {"after": "'2024-01-01'"},
    Code.JUDGED_AGAIN: {"version": 3, "rows": 40},
    Code.LABELS_MISSING: {"rows": 40, "without": 3},
    Code.LABELS_STILL_TO_COME: {"taken": "3 days", "rows": 40},
    Code.LEFT_TO_PEOPLE: {"abstention": "Left to people: 10 % of rows."},
    Code.SET_ASIDE: {"used": 300, "rejected": {"no weight": 7}},
    Code.EARLIER_RUN_ENDED: {"version": 3},
    Code.FIRST_VERSION: {},
    Code.NOTHING_TO_LEARN: {},
    Code.NEVER_AGAIN: {},
    Code.CLOCK_WENT_BACK: {},
    Code.PERIOD_NOT_OVER: {"periods": 0.5, "period": "7 days"},
    Code.PERIOD_WITHOUT_LABELS: {"periods": 1.5, "period": "7 days"},
    Code.PERIOD_OVER: {"periods": 1.5, "period": "7 days", "rows": 1200},
    Code.FEW_NEW_LABELS: {"rows": 1200, "needed": 10_000},
    Code.ENOUGH_NEW_LABELS: {"rows": 12_000, "needed": 10_000},
    Code.LEARNED_NOT_ON_RECORD: {},
    Code.POLICY_CANNOT_SEE: {"refusal": "There are no rows."},
    Code.TOO_FEW_BLOCKS: {"blocks": 3, "rows": 40, "needed": 11},
    Code.LOSSES_STEADY: {"blocks": 30, "rows": 40, "odds": 1.7, "needed": 20.0},
    Code.LOSSES_ROSE: {"blocks": 30, "rows": 40, "odds": 27.0, "needed": 20.0},
    Code.NO_DRIFT: {"blocks": 30, "rows": 100, "odds": 1.7, "needed": 20.0},
    Code.DRIFTED: {"blocks": 30, "rows": 100, "odds": 1e9, "needed": 20.0, "column": "{a}"},
    Code.GAIN_NOT_KNOWN: {},
    Code.GAIN_SMALL: {"times": 1.2, "needed": 3.0},
    Code.GAIN_LARGE: {"times": 4.2, "needed": 3.0},
    Code.GAIN_BELOW_PRICE: {"rows": 1200, "gain": 12.0, "price": 500.0},
    Code.GAIN_ABOVE_PRICE: {"rows": 1200, "gain": 1200.0, "price": 500.0},
    Code.FORECAST_BELOW_PRICE: {
        **{"worth": 9.0, "expected": 4.0, "error": 12.0},
        **{"price": 500.0, "rows": 1200, "pairs": 0},
    },
    Code.FORECAST_ABOVE_PRICE: {
        **{"worth": 900.0, "expected": 890.0, "error": 120.0},
        **{"price": 500.0, "rows": 1200, "pairs": 3},
    },
    Code.ASKED_FOR: {},
    Code.TRAINED_WITHOUT: {"rows": 7, "where": "user = 7", "why": "asked for"},
    Code.NO_CHAMPION: {},
    Code.AWAITS_LABELS: {},
    Code.NO_LABELS_SINCE: {},
    Code.LABELS_OF_ONE_TIME: {"rows": 60},
    Code.JUDGING_ROWS_UNUSABLE: {"refusal": "There are no rows."},
    Code.NO_LABEL_YET: {},
    Code.LOSS_NOT_FINITE: {"failed": 3, "rows": 1200},
    Code.SAME_LOSSES: {"rows": 1200},
    Code.JUDGED_BY_ONE_CLASS: {"rows": 1200},
    Code.FEW_OF_A_CLASS: {"rarer": 3, "rows": 1200, "needed": 20},
    Code.FEW_BLOCKS: {"rows": 99, "blocks": 4, "rows_each": 20, "needed": 5},
    Code.FEW_LOOKS: {"complete": 3, "rows_each": 20, "needed": 15},
    Code.LOSSES_COMPARED: {
        **{"rows": 1200, "champion": 0.5, "difference": -0.01, "low": -0.03, "high": 0.01, "alpha": 0.05},
        **{"margin": 0.01, "against": "champion", "negative": False, "rows_needed": 4800.0},
    },
    Code.LOOKS_CORRELATED: {"correlation": 0.8, "largest": 0.5},
    Code.NEXT_TEST: {"looks": 15, "next": 30},
    Code.EARLIER_LOOKS_DROPPED: {"looks": 14},
    Code.WORSE_THAN_CONSTANT: {
        **{"who": "champion", "rows": 1200, "constant": 0.55, "difference": 0.15},
        **{"low": 0.1, "high": 0.2, "alpha": 0.05},
    },
    Code.EVIDENCE_NEEDED: {
        **{"rows": 240, "needed": 4713, "share": 0.45, "now": 0.2, "more_rows": 1800},
        **{"time": 12.4, "in_days": True},
    },
    Code.CONSTANT_STOOD_IN: {"why": "column 'age' is gone"},
    Code.NO_CONTEST: {"champion": 1},
    Code.PAST_CHANGED: {"before": 1200, "now": 900},
    Code.ROWS_REPLACED: {"changed": 300, "gone": 20, "files": ["a.csv", "b.csv", "c.csv", "d.csv"]},
    Code.LATER_THAN_LATENESS: {"rows": 12, "since": "'2008-01-05 00:10:00'"},
    Code.TOTALS_FOUND_AGAIN: {"rows": 900, "files": ["data/5.csv"]},
    Code.CHAMPION_CANNOT_SCORE: {"why": "column 'age' is gone"},
    Code.COLUMNS_UNFIT: {"version": 2, "refusal": "The table has no column 'age'."},
    Code.COLUMNS_CHANGED: {"came": ["age"], "gone": ["sex"], "kinds": {"zip": ["number", "category"]}},
    Code.ANOTHER_KIND: {"kind": {"loss": "squared"}, "champion": {"classes": 2}},
    Code.ANOTHER_KIND_JUDGED: {"kind": {"classes": 4}, "judged": {"classes": 3}},
    Code.NO_CERTIFICATE: {"reason": "the time for a solver was spent"},
    Code.FIRST_GOES_LIVE: {},
    Code.OVERTAKEN: {"generation": 3},
    Code.NOT_REHEARSED: {"why": "The new process ended with exit code 9."},
    Code.REVIEWS_SPENT: {"budget": 4},
    Code.SAME_BITS: {"rows": 300},
    Code.OTHER_BITS: {"rows": 3, "of": 300, "most": 1e-16},
    Code.OTHER_SHAPE: {"shape": "(40,)", "expected": "(39,)"},
    Code.NO_RESPONSES: {},
    Code.PROCESS_LATE: {"seconds": 120.0},
    Code.PROCESS_FAILED: {"exit_code": -11, "last_line": "Killed"},
    Code.CHOICE_COMPARED: {
        **{"rows": 1200, "chosen": 1, "instead_of": 2},
        **{"difference": 0.02, "low": 0.01, "high": 0.03, "alpha": 0.05},
    },
    Code.CHOICE_OPEN: {"rows": 60, "verdict": "Not enough evidence: No later row has a label yet."},
    Code.GRADIENT_NOT_FINITE: {},
    Code.NO_SAFE_FACTOR: {"why": "it is singular"},
    Code.HUBER_WITHOUT_FACTOR: {"coefficients": 6000},
    Code.TOO_MANY_TO_FACTOR: {"coefficients": 6000, "why": "nothing bounds it"},
    Code.MAY_CROSS_THRESHOLD: {},
    Code.NOT_NEAR_ENOUGH: {"product": 1.5},
    Code.MORE_ROWS_NEEDED: {"product": 1.5},
    Code.TIME_SPENT: {},
    Code.ANCHORED: {},
    Code.LEARNED_ONE_BY_ONE: {},
    Code.ROWS_NOT_KEPT: {},
    Code.LEARNER_FED: {"path": "lightgbm.LGBMClassifier", "form": "matrix", "refusal": "It takes no texts."},
    Code.LEARNER_FED_OTHERWISE: {"path": "lightgbm.LGBMClassifier", "form": "matrix", "champion": "frame"},
    Code.LEARNER_ROUNDS: {"path": "lightgbm.LGBMClassifier", "rounds": 120},
    Code.LEARNER_CALIBRATED: {"path": "sklearn.svm.LinearSVC"},
    Code.LEARNER_NOT_KEPT: {"path": "my_models.py:build", "types": ["my_models.Hand"], "missing": None},
    Code.LEARNER_CONTINUED: {"path": "lightgbm.LGBMClassifier", "how": "init_model"},
    Code.LEARNER_UNPROVED: {"path": "lightgbm.LGBMClassifier"},
    Code.MISSING_TEXTS: {"column": "a", "kind": "number", "texts": {"NA": 3, "?": 1}, "rows": 4},
    Code.STRAY_TEXTS: {"column": "a", "kind": "number", "texts": {"lost": 3}, "rows": 3},
    Code.UNREADABLE_TEXTS: {"column": "a", "kind": "number", "texts": [">100", "1O0"], "rows": 2, "of": 600},
    Code.WRITTEN_NUMBERS: {"column": "a", "example": "1.234,50 EUR", "value": 1234.5},
    Code.COMMA_BEFORE_THREE: {"column": "a", "example": "1,234", "point": 1234.0, "comma": 1.234},
    Code.WRITTEN_TIMES: {"column": "a", "example": "31/12/2020", "form": "%d/%m/%Y"},
    Code.ORDER_OF_DATE: {"column": "a", "example": "01/02/2020", "forms": ["%d/%m/%Y", "%m/%d/%Y"]},
    Code.TIMES_OF_DAY: {"column": "a", "example": "4:30", "seconds": 16200.0},
    Code.FORMS_OF_TIMES: {"column": "a", "examples": ["2020-12-31", "31/12/2020"]},
    Code.SOME_NUMBERS: {"column": "a", "numbers": 270, "of": 450, "texts": [".a", ".b"]},
    Code.DELIMITER_IN_TEXT: {"column": "a", "delimiter": ",", "example": "twice, then lost"},
    Code.ZONES_MIXED: {"column": "a", "zoned": 3, "zoneless": 4},
    Code.OFFSETS_MIXED: {"column": "when", "offsets": ["+01:00", "+02:00"]},
    Code.OWN_ROWS: {"rows": 2000},
    Code.LEAK: {
        "target": "y",
        "levels": [{"level": "state = closed", "rows": 300, "share": 1.0, "class": "1"}],
        "change": "--drop state",
    },
    Code.TOO_GOOD: {"metric": "auc", "value": 0.9999, "column": "paid", "change": "--drop paid"},
    Code.SPIKE: {"column": "a", "value": -999.0, "rows": 3, "of": 40, "low": 0.5, "high": 2.0, "change": "--null=-999"},
    Code.TIME_SPIKE: {
        "column": "a",
        "value": "1900-01-01",
        "rows": 3,
        "low": "2024-01-01",
        "high": "2024-02-01",
        "change": "--where x",
    },
    Code.LEADING_ZEROS: {"column": "zip", "example": "00501"},
    Code.MIXED_CODES: {"column": "invoice", "examples": ["536365", "C536379"]},
    Code.UNSUPPORTED_TYPE: {"column": "tags", "stored": "list<item: string>"},
    Code.LONG_INTEGERS: {"column": "id", "example": "9007199254740993"},
    Code.UNNAMED_INDEX: {},
    Code.UNNAMED_COLUMN: {"column": "column_3", "number": 3},
    Code.TRAILING_DELIMITERS: {"number": 4},
    Code.REPEATED_NAME: {"column": "x.2", "name": "x", "number": 2},
    Code.TOTAL_ROW: {"column": "item", "text": "Total", "place": "last"},
    Code.UNSUPPORTED_TYPE: {"column": "tags", "stored": "list<item: string>"},
    Code.NOT_IN_ALL_FILES: {"column": "a", "files": 2},
    Code.TAKEN_AS_MISSING: {"column": "a"},
    Code.UNREADABLE_VALUES: {"column": "a", "kind": "number", "rows": 3},
    Code.RECORDED: {"text": "Nobody {asked}."},
    Code.POLICY_CHEAPEST: {"cost": 1234.5, "retrains": 1, "policies": 6},
    Code.POLICY_AS_GOOD: {
        **{"loss": 0.41, "retrains": 3, "best": "every {7d}"},
        **{"best_loss": 0.409, "best_retrains": 40},
    },
    Code.NO_POLICY_BEATS_ONCE: {"policies": 5},
    Code.TRAINING_TAKES_NO_TIME: {},
    Code.ROWS_NOT_SCORED: {"rows": 1234, "why": "'{a}' holds a text."},
    Code.WINDOWS_WITHOUT_LABELS: {"windows": 3, "of": 40},
    Code.TRAININGS_REFUSED: {"trainings": 2, "at": "'2026-01-01 00:00:00'", "why": "All labels are {equal}."},
    Code.CHOSEN_BY_FIRST: {"windows": 28, "of": 40},
    Code.PERIODS_OFF_WINDOWS: {"ran": {"every {30d}": 1152.0}, "window": 1152.0, "stamped": True},
    Code.PROJECT_DIFFERS: {"project": "batchlearn.toml", "differ": ["files", "alpha"]},
    Code.CLASSES_CAME_LATE: {"classes": ["a", "b", "c", "d", "e", "{f}"]},
}


@pytest.mark.parametrize("code", Code)
def test_every_code_has_one_sentence_and_plain_values(code: Code) -> None:
    note = Note(code, VALUES[code])
    said = str(note)
    assert said
    assert "None" not in said
    record = json.loads(json.dumps(note.to_json()))
    assert record == {"code": code.value, "values": VALUES[code]}
    assert all_recorded({"notes": [said], "noted": [record]}) == (note,)
    # The sentence is of these values: another note of the code says something else.
    for name, value in VALUES[code].items():
        if isinstance(value, str) and name not in ("by", "near"):
            assert str(Note(code, {**VALUES[code], name: "something else"})) != said, name


def test_an_outgrown_encoding_of_an_older_record_has_its_reason_as_text() -> None:
    older = Note(Code.ENCODING_OUTGROWN, {"reason": "9 new rows have a month of 'seen' that meets no coefficient"})
    newer = Note(Code.ENCODING_OUTGROWN, VALUES[Code.ENCODING_OUTGROWN])
    assert str(older) == str(newer)
    assert all_recorded({"notes": [str(older)], "noted": [older.to_json()]}) == (older,)


def test_a_record_without_codes_holds_sentences() -> None:
    notes = (Note(Code.JUDGED_AGAIN, {"version": 3, "rows": 40}), recorded("As it was said."))
    record = {"notes": list(map(str, notes)), "noted": [note.to_json() for note in notes]}
    assert all_recorded(record) == notes
    assert all_recorded({"notes": record["notes"]}) == tuple(map(recorded, map(str, notes)))


@pytest.mark.parametrize(
    "noted",
    [
        {"code": "of_a_newer_program", "values": {}},
        {"code": "judged_again", "values": {"version": 4, "rows": 40}},
        {"code": "judged_again", "values": {}},
        Note(Code.NOT_NEAR_ENOUGH, {"product": math.inf}).to_json(),
    ],
)
def test_a_code_that_does_not_say_the_sentence_leaves_it_as_it_stands(noted: dict[str, Any]) -> None:
    assert json.dumps(noted, allow_nan=False)
    assert all_recorded({"notes": ["As it was said."], "noted": [noted]}) == (recorded("As it was said."),)


def test_a_sentence_on_record_is_shown_as_it_is() -> None:
    assert str(recorded("x was left out: {it} is constant")) == "x was left out: {it} is constant"
    assert recorded("x was left out: it is constant").code is Code.RECORDED


def test_a_metric_is_called_what_the_field_calls_it() -> None:
    figures = {"baseline": "last_value", "difference": 0.5, "low": 0.1, "high": 0.9}
    said = [str(Note(Code.BASELINE_BETTER, {**figures, "metric": metric})) for metric in ("mse", "log_loss")]
    assert said == [
        "The model is worse than the last value baseline: MSE +0.5 (+0.1 to +0.9).",
        "The model is worse than the last value baseline: log loss +0.5 (+0.1 to +0.9).",
    ]


def test_joined_notes_are_read_back_only_as_what_they_say() -> None:
    notes = (Note(Code.ASKED_FOR), Note(Code.FEW_NEW_LABELS, {"rows": 0, "needed": 300}))
    told, codes = joined(notes), [note.to_json() for note in notes]
    due = "Not due: 0 of 300 rows to learn from have come since the last training."
    assert told == f"Asked for, whatever the policy says. {due}"
    assert recorded_together(told, codes) == notes
    assert recorded_together(f"Reject: {told}", codes, "Reject: ") == notes
    for text, noted in ((told, None), (told, []), (told, codes[:1]), (f"Reject: {told}", codes), (told, [{"a": 1}])):
        assert recorded_together(text, noted) == (recorded(text),)
