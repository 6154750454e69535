"""What is chosen by data before a fit: linear or additive, which pairs, and how strongly each term is penalised.

Choices are made by forward validation: candidates are fitted to the earlier part of the rows given and judged on their
last block (a random one without a time column). Leave-one-out is not used: under drift it accepts what later rows
refuse. The block's level is its own: it drifts for all candidates alike, and one that errs the way the drift goes would
win by that alone. Strengths come from the restricted likelihood on at most 100,000 rows
(`selection.penalty_selection`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.build import Profiles, build_rows, profile_parts
from batchlearn.data.encoding import Encoding, PairTerm
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import Ledger, with_classes_of
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.rows.journal import Journal
from batchlearn.data.sample import take
from batchlearn.data.split import SplitKind, drawn, hold_out, stretches
from batchlearn.errors import NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import Loss, loss_of
from batchlearn.objectives.penalties import Quadratic
from batchlearn.progress import at_once, finish
from batchlearn.selection.class_penalties import select_class_penalties
from batchlearn.selection.huber_threshold import narrowing, wide_enough
from batchlearn.selection.interactions import best_pairs
from batchlearn.selection.penalty_selection import PenaltySelection, select_penalties
from batchlearn.selection.terms import encoding_terms
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Table

MOST_ROWS = 100_000
_LAST_BLOCK = 0.2
# Levels of a category while choosing: enough to tell a column's strength, and a factor that costs little.
_LEVEL_CAP, _BUCKETS = 160, 32
_TEXT_WORDS, _TEXT_BUCKETS = 256, 64
# Fewer rows cannot tell candidates apart: the linear encoding with the default penalty is used as it is.
FEWEST_ROWS = 200
# Numbers in the Hessian, or in its blocks, while strengths are chosen: 0.3 GB.
_MOST_CURVATURE = 4e7
# Of classes: rows times columns times classes, and the rows that are kept whatever those are.
_VALUES, _FEWEST_OF_CLASSES = 3e7, 10_000
_PAIR_STEPS = (1, 2, 4, 8)
_STRETCHES = 5  # of time: pairs are ranked by what four of them say of the fifth
# A step costs the cube of these: the search for pairs ends where the next would go beyond.
_MOST_COEFFICIENTS = 1_500
# Coefficients over all predictors of classes, whose steps cost readings of the rows.
_MOST_OF_CLASSES = 10_000
# Pairs must lower the loss that is left by this share, or they are not worth their coefficients; and by so many
# standard errors, for up to four groups of them are tried on one block.
_WORTHWHILE = 3e-3
_PAIR_ERRORS = 2.0
# Fewer bins are tried too: where the world moves, fine ones hold what the next rows refuse. They must be better by this
# share, and by as many standard errors as pairs.
_COARSE_BINS = 16
_COARSE_WORTHWHILE = 1e-2


@dataclass(frozen=True)
class Alternative:
    """A candidate and its mean loss on the last block with that block's own level, in the units of the objective."""

    bins: int | None  # at most, of each number; None where numbers enter as they are
    pairs: int
    loss: float
    coefficients: int
    degrees_of_freedom: float
    seconds: float
    chosen: bool = False

    @property
    def name(self) -> str:
        """Linear or additive, with what sets it apart from other candidates: few bins, pairs."""
        bins = [f"{self.bins} bins"] if self.bins is not None and self.bins <= _COARSE_BINS else []
        pairs = [f"{self.pairs} pairs"] if self.pairs else []
        return ", ".join(["linear" if self.bins is None else "additive", *bins, *pairs])

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain values."""
        return {"name": self.name, **vars(self)}


@dataclass(frozen=True)
class Structure:
    """What was chosen, and from what."""

    rules: EncodingRules
    pairs: tuple[PairTerm, ...] = ()
    strengths: Mapping[str, float] = field(default_factory=dict)  # by term; in total over the rows
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def from_json(cls, said: Mapping[str, Any], encoding: Encoding, rules: EncodingRules) -> Structure:
        """Return what a training chose by `to_json` of it, the encoding that came of it and the rules of its recipe."""
        rules = replace(rules, additive=said.get("encoding") == "additive", bins=said.get("bins") or rules.bins)
        pairs = tuple(one for one in encoding.groups if isinstance(one, PairTerm))
        return cls(rules, pairs, {str(name): float(one) for name, one in said.get("strengths", {}).items()})

    @property
    def name(self) -> str:
        """Linear or additive."""
        return "additive" if self.rules.additive else "linear"

    def to_json(self) -> dict[str, Any]:
        """Return what was chosen as plain values."""
        return {
            "encoding": self.name,
            "bins": self.rules.bins if self.rules.additive else None,
            "pairs": [pair.column for pair in self.pairs],
            "strengths": dict(self.strengths),
            "alternatives": [one.to_json() for one in self.alternatives],
        }


class _FittedStructure(NamedTuple):
    structure: Structure
    encoding: Encoding
    rows: Rows
    later: Rows
    parameters: Floats
    strengths: PenaltySelection
    losses: Floats  # of the late rows, each times its weight over the mean weight
    alternative: Alternative


class _Bench(NamedTuple):
    """The rows that candidates are fitted to and judged on."""

    table: Table
    ledger: Ledger
    early: NDArray[np.bool_]
    late: NDArray[np.bool_]
    profiles: Profiles
    loss: Loss
    threads: int
    seed: int
    journal: Journal | None


def choose_structure(  # noqa: PLR0913 - rows, how they are told apart, and what is kept of them
    table: Table,
    ledger: Ledger,
    part: NDArray[np.bool_],
    rules: EncodingRules,
    threads: int,
    kind: SplitKind | None = None,
    seed: int = 0,
    *,
    journal: Journal | None = None,
) -> Generator[int, None, Structure]:
    """Yield rows read; return what the rows of the part ask for.

    `kind` and `seed` say how their last block is told apart: as the evaluation tells its own. A journal keeps what the
    rows answer.
    """
    inner = hold_out(replace(ledger, used=part), _LAST_BLOCK, seed, kind)
    if inner.late is None or int(part.sum()) < FEWEST_ROWS:
        return Structure(rules)
    classes, most = len(ledger.target.classes), MOST_ROWS
    if classes > 2:  # fewer, where each is read for many classes and columns
        most = int(min(MOST_ROWS, max(_VALUES / (classes * max(len(table.features), 1)), _FEWEST_OF_CLASSES)))
    # Rows are taken in the order of their lots: in any order of the table the choice is the same to the bit.
    early, late = drawn(ledger, inner.early, seed, most), drawn(ledger, inner.late, seed, most // 2)
    taken, cut = yield from take(table, ledger, np.concatenate([early, late]))
    inside = np.arange(len(cut.used)) < len(early)
    cut = with_classes_of(cut, inside)
    if len(np.unique(cut.label[inside & cut.used])) < 2:
        return Structure(rules)
    judging = ~inside & cut.used
    if not judging.any():
        return Structure(rules)
    profiles = yield from profile_parts(taken, cut, [inside])
    bench = _Bench(taken, cut, inside, judging, profiles[0], loss_of(cut.target), threads, seed, journal)
    encoding = _encoded(bench, Structure(rules))
    if _too_wide(bench, encoding):
        return Structure(rules)
    asked = bench.loss.corners
    if asked is not None:
        rows = finish(build_rows(taken, cut, encoding, inside, threads, fingerprinted=False, journal=journal))
        bench = bench._replace(loss=wide_enough(asked, rows, tuple(encoding_terms(encoding).values())))
    best, tried = yield from _best(bench, rules, encoding)
    found = best.structure
    if asked is not None and bench.loss.corners is not None:
        factor = narrowing(bench.loss.corners, asked)
        found = replace(found, strengths={name: factor * value for name, value in found.strengths.items()})
    return replace(found, alternatives=tuple(replace(one, chosen=one is best.alternative) for one in tried))


def _best(
    bench: _Bench, rules: EncodingRules, encoding: Encoding
) -> Generator[int, None, tuple[_FittedStructure, tuple[Alternative, ...]]]:
    """Return the best candidate, and all that were tried; `encoding` is the linear one."""
    linear = _try(bench, Structure(rules), encoding)
    tried = [linear.alternative]
    binned, few = (
        Structure(replace(rules, additive=True, bins=b)) for b in (rules.bins, min(_COARSE_BINS, rules.bins))
    )
    wide = _encoded(bench, binned)
    if _too_wide(bench, wide):
        return linear, tuple(tried)
    # Without numbers both are the same model. Else of as many bins as the rules allow, or of few.
    additive = fine = linear if wide == encoding else _try(bench, binned, wide, linear)
    narrow = _encoded(bench, few)
    if fine is not linear:
        tried.append(fine.alternative)
    best = fine if _beats(fine, linear) else linear
    searched = None
    if narrow.layout.size != wide.layout.size:
        by_few = _tried(bench, few, narrow, fine)
        if bench.threads > 1 and bench.journal is None:
            # Few bins seldom win: what pairs add to many is looked for beside them, and again where they do.
            coarse, searched = yield from at_once([by_few, _add_pairs(bench, fine, best)], bench.threads)
        else:
            coarse = yield from by_few
        tried.append(coarse.alternative)
        if _beats(coarse, fine, _COARSE_WORTHWHILE * max(fine.alternative.loss, 0.0), _PAIR_ERRORS):
            additive, searched = coarse, None
            best = coarse if _beats(coarse, linear) else linear
    best, pairs = searched or (yield from _add_pairs(bench, additive, best))
    return best, (*tried, *pairs)


def _add_pairs(
    bench: _Bench, start: _FittedStructure, best: _FittedStructure
) -> Generator[int, None, tuple[_FittedStructure, list[Alternative]]]:
    """Return the best candidate once groups of pairs have been tried, and all that were.

    Ranked again after each step: what one pair explains, another need not. The rows that judge have no say in it.
    """
    when = stretches(bench.ledger, bench.early & bench.ledger.used, _STRETCHES, bench.seed)
    rules = replace(start.structure.rules, additive=True)
    most = min(_MOST_COEFFICIENTS, _MOST_OF_CLASSES // bench.loss.outputs)
    tried: list[Alternative] = []
    for count in _PAIR_STEPS:
        ranked = best_pairs(bench.loss, start.rows, (start.encoding, start.parameters), when, count)
        sizes = start.encoding.layout.size + np.cumsum([len(candidate.term.names) for candidate in ranked])
        ranked = ranked[: int(np.sum(sizes <= most))]
        new = [candidate.term for candidate in ranked]
        margin = _WORTHWHILE * max(best.alternative.loss, 0.0)
        # The early rows themselves promise less than the late ones would have to say. One pair is always tried: where
        # the world moves, late rows may say more than stretches do of each other.
        hopeless = tried and sum(one.gain for one in ranked) < margin * start.rows.total_weight
        if not new or hopeless:
            break
        structure = Structure(rules, (*start.structure.pairs, *new))
        encoding = _encoded(bench, structure)
        if tried and bench.loss.outputs == 1:
            # By themselves, beside all that is fitted, they cost the cube of their own cells: they have to pass the
            # margin so. The first may need what others become with it: where the world moves.
            read = {half.column for pair in new for half in (pair.first, pair.second)}
            kinds = {name: kind for name, kind in encoding.kinds.items() if name in read}
            alone = Encoding((), tuple(new), kinds, {}, (), {k: z for k, z in encoding.zones.items() if k in read})
            if not _beats(_try(bench, Structure(rules, tuple(new)), alone, beside=start), best, margin, 0.0):
                break
        start = yield from _tried(bench, structure, encoding, start)
        tried.append(start.alternative)
        if not _beats(start, best, margin, _PAIR_ERRORS):
            break
        best = start
    return best, tried


def _beats(candidate: _FittedStructure, incumbent: _FittedStructure, margin: float = 0.0, errors: float = 1.0) -> bool:
    """Whether a candidate with more coefficients is better by the margin, and by more than so many standard errors.

    The simpler of two that a small block cannot tell apart is kept (Breiman et al. 1984, section 3.4.3).
    """
    gains = incumbent.losses - candidate.losses
    return bool(gains.mean() > max(margin, errors * float(gains.std()) / math.sqrt(len(gains))))


def _late_losses(loss: Loss, later: Rows, parameters: Floats) -> Floats:
    """Return the loss of each late row times its weight over the mean weight, with the late rows' own level.

    Of more than two classes with the level that they were given.
    """
    share = len(later) / later.total_weight

    def weighted_loss(chunk: Chunk, parameters: Floats) -> Floats:
        return chunk.weight * loss.value(predictor(chunk, parameters), chunk.label)

    if loss.outputs > 1:
        return later.map_rows(weighted_loss, parameters) * share
    level = np.zeros(1)
    bare = later.with_offset(later.map_rows(predictor, parameters)).intercept_only()
    # Where late rows of one class, or counts of nothing but zero, have no best level: the one they were given stays.
    with suppress(NoFiniteOptimum):
        level = Objective(loss, Quadratic(np.zeros(1))).null_parameters(bare)
    return bare.map_rows(weighted_loss, level) * share


def _too_wide(bench: _Bench, encoding: Encoding) -> bool:
    """Whether strengths could not be chosen for this encoding: the Hessian, or a block a class, would be too large."""
    blocks = 1 if bench.loss.outputs == 1 else bench.loss.outputs + 1
    return blocks * encoding.layout.size**2 > _MOST_CURVATURE


def _encoded(bench: _Bench, structure: Structure) -> Encoding:
    cap, buckets = min(structure.rules.level_cap, _LEVEL_CAP), min(structure.rules.buckets, _BUCKETS)
    words, hashed = min(structure.rules.text_words, _TEXT_WORDS), min(structure.rules.text_buckets, _TEXT_BUCKETS)
    rules = replace(structure.rules, level_cap=cap, buckets=buckets, text_words=words, text_buckets=hashed)
    return fit_encoding(bench.table.features, bench.profiles, rules, bench.table.roles.time, structure.pairs)


def _tried(
    bench: _Bench, structure: Structure, encoding: Encoding, before: _FittedStructure
) -> Generator[int, None, _FittedStructure]:
    """Try a candidate as work that says when it begins: there it ends where nobody waits for it any more."""
    yield 0
    return _try(bench, structure, encoding, before)


def _try(
    bench: _Bench,
    structure: Structure,
    encoding: Encoding,
    before: _FittedStructure | None = None,
    beside: _FittedStructure | None = None,
) -> _FittedStructure:
    """Fit a candidate to the early rows with strengths of its own, and judge it on the late ones.

    The search starts from what another candidate found for the coefficients and terms that both have. `beside`: what
    this one predicts is given, and the candidate adds to it.
    """
    began = time.perf_counter()
    rows_of = bench.table, bench.ledger
    rows, later = (
        finish(build_rows(*rows_of, encoding, part, bench.threads, fingerprinted=False, journal=bench.journal))
        for part in (bench.early, bench.late)
    )
    if beside is not None:
        rows = rows.with_offset(beside.rows.map_rows(predictor, beside.parameters))
        later = later.with_offset(beside.later.map_rows(predictor, beside.parameters))
    terms = encoding_terms(encoding)
    start = None
    if before is not None:
        names, fresh = encoding.names, np.zeros(bench.loss.outputs)
        known = dict(zip(before.encoding.names, before.parameters.reshape(len(fresh), -1).T, strict=True))
        coefficients = np.stack([known.get(name, fresh) for name in names], axis=1).ravel()
        found = before.structure.strengths
        shared = (all(name in known for name in names[term.part]) for term in terms.values())
        start = [found[key] if same else 1.0 for key, same in zip(terms, shared, strict=True)], coefficients
    find = select_penalties if bench.loss.outputs == 1 else select_class_penalties
    strengths, parameters = find(bench.loss, rows, tuple(terms.values()), start)
    losses = _late_losses(bench.loss, later, parameters)
    alternative = Alternative(
        structure.rules.bins if structure.rules.additive else None,
        len(structure.pairs),
        float(losses.mean()),
        encoding.layout.size * bench.loss.outputs,
        1.0 + sum(strengths.degrees_of_freedom),
        time.perf_counter() - began,
    )
    chosen = replace(structure, strengths=dict(zip(terms, strengths.values, strict=True)))
    return _FittedStructure(chosen, encoding, rows, later, parameters, strengths, losses, alternative)
