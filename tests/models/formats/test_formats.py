"""What was stored before is read for good: models load, predict what they predicted and verify; kept totals load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from batchlearn.models.files import files_of, load, read_model
from batchlearn.models.folder import MODEL
from batchlearn.models.schema import FORMAT_VERSION
from batchlearn.retraining.cycle.continued import encode_rows
from batchlearn.tables.table import read
from batchlearn.training.verification.stored import verify_model
from batchlearn.updating.storage import load as load_totals

STORED = sorted((Path(__file__).parent / "fixtures").glob("*/*"))
KEPT = [folder for folder in STORED if (folder / "kept.safetensors").exists()]


def named(folder: Path) -> str:
    return f"{folder.parent.name} {folder.name}"


@pytest.mark.parametrize("folder", STORED, ids=named)
def test_a_stored_model_predicts_what_it_predicted(folder: Path) -> None:
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    predictions = load(folder / "model").predict(pq.read_table(folder / "rows.parquet").slice(0, 20), bounds=True)
    assert predictions.bound is not None
    assert [value.hex() for value in predictions.predictor.ravel().tolist()] == said["predictor"]
    np.testing.assert_allclose(predictions.bound.ravel(), said["bound"], rtol=1e-9)


@pytest.mark.parametrize("folder", STORED, ids=named)
def test_the_certificate_of_a_stored_model_is_proved_again(folder: Path) -> None:
    verification = verify_model(folder / "model", folder / "rows.parquet", threads=1)
    assert verification.holds, verification.reasons
    assert verification.certificate.fingerprint == verification.stated.fingerprint


@pytest.mark.parametrize("folder", STORED, ids=named)
def test_other_rows_are_not_those_of_a_stored_model(folder: Path) -> None:
    rows = pq.read_table(folder / "rows.parquet")
    assert not verify_model(folder / "model", rows.slice(1), threads=1).holds


@pytest.mark.parametrize("folder", KEPT, ids=named)
def test_stored_totals_are_of_their_model(folder: Path) -> None:
    model, rows = load(folder / "model"), pq.read_table(folder / "rows.parquet").num_rows
    kept = load_totals((folder / "kept.safetensors").read_bytes(), model.encoding.layout, model.loss)
    assert kept.rows == rows
    np.testing.assert_array_equal(kept.parameters, model.parameters)
    assert kept.totals.weight > 0.0


def test_a_model_of_before_takes_weights_as_they_come() -> None:
    (folder,) = (one for one in STORED if named(one) == "2026-11 weighted")
    model, rows = load(folder / "model"), pq.read_table(folder / "rows.parquet")
    assert model.weight_constant == 1.0
    kept = load_totals((folder / "kept.safetensors").read_bytes(), model.encoding.layout, model.loss)
    weight = np.asarray(rows["worth"])
    there = encode_rows(model, read(rows, target="label", weight="worth"), 1)
    assert there.ledger.weight is not None
    assert there.ledger.weight.tobytes() == weight.tobytes()
    assert kept.totals.weight == there.rows.total_weight == pytest.approx(weight.sum(), rel=1e-14)


def _as_old_as(written: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return the description without what its parts have in addition: a text for roles and encoding, which is none."""
    old = {key: dict(value) if key in ("encoding", "roles") else value for key, value in written.items()}
    assert [old[part].pop(added) for part, added in (("encoding", "texts"), ("roles", "text"))] == [[], []]
    assert old["roles"].pop("weight_kind") is None
    return {key: value for key, value in old.items() if key in before}


@pytest.mark.parametrize("folder", STORED, ids=named)
def test_a_stored_model_is_written_again_as_it_was(folder: Path) -> None:
    stored, before = read_model(folder / "model"), json.loads((folder / "model" / MODEL).read_text(encoding="utf-8"))
    written = json.loads(files_of(stored.model, stored.record)[MODEL])
    assert written.pop("format_version") == FORMAT_VERSION > before.pop("format_version")
    assert written["encoding"].pop("zones") == {}
    for group in written["encoding"]["groups"]:
        for term in (group, group.get("first"), group.get("second")):
            assert term is None or term["kind"] != "category" or term.pop("pooled") is None
    # As text, because the order of keys is part of the bytes; only what is younger than the file is added.
    assert json.dumps(_as_old_as(written, before)) == json.dumps(before)
    younger = {"weight_constant", "offset_constant", "outer_spaces", "readings", "text_encoding"}
    assert set(written) - set(before) <= {"class_shares", "level_moments", "costs", *younger}
    assert written["readings"] == {}
