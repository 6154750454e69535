"""What all contenders are given: one objective over the earlier rows, its optimum, and later rows to be judged on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.ledger import Ledger, columns_read, read_ledger, with_classes_of
from batchlearn.data.rows import Rows
from batchlearn.data.sample import take
from batchlearn.data.split import drawn, hold_out, with_lots
from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.names import how_split
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import loss_of
from batchlearn.progress import Progress, run_stage
from batchlearn.selection.structure import Structure, choose_structure
from batchlearn.statistics.objective import Objective
from batchlearn.tables.table import Table
from batchlearn.tables.table.kept import keep
from batchlearn.training.optimise import Optimum, Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import Work, fit_part

_FEWEST_ROWS = 10
# Who compares waits: after so many seconds the optimum is where its solver stands, with what is proved there.
_OPTIMUM_SECONDS = 30.0


@dataclass(frozen=True)
class Benchmark:
    """One objective over rows in memory, the optimum that distances are measured from, and the rows held out."""

    objective: Objective
    rows: Rows
    start: Floats  # the model that knows only the mean: where every contender begins
    optimum: Optimum
    target: Target
    later: Rows | None
    later_order: NDArray[np.intp]  # of the later rows: by time, at random where there is no time
    ordered: bool  # whether rows have a time
    notes: tuple[Note, ...]

    @property
    def loss_bound(self) -> float | None:
        """How far the optimum can lie below `optimum.value`, at most; None where nothing is proved."""
        return self.optimum.certification.certificate.loss_bound

    @property
    def steps_seconds(self) -> float:
        """Seconds of the steps to the optimum, without its proof."""
        steps = self.optimum.trace
        return steps[-1].seconds if steps else self.optimum.seconds

    @property
    def row_bytes(self) -> float:
        """Bytes of one row as it is kept in memory: what one reading of a row moves at least."""
        return self.rows.stored_bytes / max(len(self.rows), 1)


def read_rows(
    table: Table, recipe: Recipe, most_rows: int
) -> Generator[Progress, None, tuple[Table, Ledger, list[Note]]]:
    """Yield progress while reading; return the rows with a label, a sample of them where there are more, and notes."""
    if table.roles.target is None:
        raise UsageError(
            "The table has no target; name the column to predict with target= (--target).", code="no-target"
        )
    table = yield from run_stage("reading rows", keep(table, columns_read(table)))
    ledger, notes = read_ledger(table, loss=recipe.loss, positive=recipe.positive), list[Note]()
    ledger = with_lots(table, ledger)
    if ledger.counts.used > most_rows:
        notes.append(Note(Code.SAMPLED, {"rows": most_rows, "of": ledger.counts.used, "seed": recipe.seed}))
        # In the order of the table, which those who read few rows at a time follow.
        chosen = np.sort(drawn(ledger, ledger.used, recipe.seed, most_rows))
        table, ledger = yield from run_stage("drawing a sample", take(table, ledger, chosen))
    if ledger.counts.used < _FEWEST_ROWS:
        raise DataError(
            f"{table.name} has {ledger.counts.used} rows with a label; at least {_FEWEST_ROWS} are needed to compare.",
            code="too-few-rows",
        )
    return table, ledger, notes


def build_problem(table: Table, recipe: Recipe, most_rows: int, threads: int) -> Generator[Progress, None, Benchmark]:
    """Yield progress while reading and optimising; return the trial.

    The model is the one that `train` would fit: linear or additive, as the earlier rows ask for, with a strength for
    each term; with an alpha in the recipe terms enter as they are (the linear encoding) under that one strength. Of
    more than `most_rows` rows a sample is drawn at random, which the notes say. Raises DataError, UsageError and, where
    the penalty is zero and the objective has no minimum, NoFiniteOptimum.
    """
    table, ledger, notes = yield from read_rows(table, recipe, most_rows)
    split = hold_out(ledger, recipe.holdout, recipe.seed)
    ledger = with_classes_of(ledger, split.early)
    if split.late is not None and (unseen := int((split.late & ledger.unseen).sum())):
        notes.append(Note(Code.CLASSES_NOT_EARLIER, {"rows": unseen}))
        split = split._replace(late=split.late & ledger.used)
    structure = Structure(recipe.rules)
    if recipe.alpha is None:
        choice = choose_structure(table, ledger, split.early, recipe.rules, threads, split.kind, recipe.seed)
        structure = yield from run_stage("choosing what to fit", choice)
    work = Work(table, ledger, replace(recipe, batch_size="full"), structure, threads, _OPTIMUM_SECONDS)
    (profiles,) = yield from run_stage("reading columns", profile_parts(table, ledger, [split.early]))
    fitted = yield from fit_part(work, split.early, profiles, "the earlier rows")
    later, how, later_order = None, None, np.zeros(0, dtype=np.intp)
    if split.late is not None:
        encoded = build_rows(table, ledger, fitted.encoding, split.late, threads, fingerprinted=False)
        later = yield from run_stage("encoding the later rows", encoded)
        how = how_split(split.kind, split.one_time)
        if ledger.time is None:
            later_order = (np.cumsum(split.late) - 1)[drawn(ledger, split.late, recipe.seed)]
        else:
            later_order = np.argsort(ledger.time[split.late], kind="stable")
    judged_on = 0 if later is None else len(later)
    notes.append(Note(Code.COMPARED_ON, {"rows": len(fitted.rows), "held_out": judged_on, "how": how}))
    coefficients = len(fitted.optimum.parameters)
    model = {"coefficients": coefficients, "model": structure.name, "alpha": recipe.alpha}
    notes.append(Note(Code.COMPARED_TERMS, model))
    if fitted.optimum.status is Status.OUT_OF_TIME:
        notes.append(Note(Code.OPTIMUM_OUT_OF_TIME, {"seconds": _OPTIMUM_SECONDS}))
    objective = Objective(loss_of(ledger.target), fitted.penalty)
    return Benchmark(
        objective,
        fitted.rows,
        objective.null_parameters(fitted.rows),
        fitted.optimum,
        ledger.target,
        later,
        later_order,
        ledger.time is not None,
        tuple(notes),
    )
