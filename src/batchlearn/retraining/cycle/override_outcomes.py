"""Was the person right? Where someone overruled the gate, rows that were labelled later judge both choices.

That is looked at again with every training, on more and more rows. A test for one look would be wrong more and more
often, so this is the gate's sequential one (`evaluation.paired.sequential_difference`): each look adds the rows that
were seen since the last and have all their labels, and the rate of wrong outcomes holds however often one looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batchlearn.errors import DataError, IntegrityError, UsageError
from batchlearn.formatting.notes import Code, Note
from batchlearn.retraining.cycle.candidate import contest
from batchlearn.retraining.cycle.events import ChoiceJudged
from batchlearn.retraining.cycle.state import Override, RowSource, Versions
from batchlearn.retraining.gate import Gate, judge_interim
from batchlearn.retraining.sources.label_times import LabelTimes, settled_rows

_GATE = Gate("anytime")


def judge_choices(
    overrides: Iterable[Override], rows: RowSource, times: LabelTimes, versions: Versions, now: float
) -> Iterator[ChoiceJudged]:
    """Look again at each override: yield what rows say of those of which there are new ones.

    The person's choice is tested for superiority over the gate's, on rows that neither was trained on, each of which
    is analysed once. As long as neither is shown to be better there is no outcome. Over all analyses together an
    outcome is wrong with a probability of 5 % at most.
    """
    for choice in overrides:
        chosen, rival = choice.chosen, choice.instead_of
        since = choice.as_of if choice.looked is None else choice.looked
        if chosen is None or rival is None or choice.as_of is None or since is None or now <= since:
            continue
        until = None if choice.looks is None else choice.looks["until"]
        seen = rows.table(times.seen_by(now))
        try:
            gates, persons = versions.model(rival), versions.model(chosen)
            stretch = settled_rows(seen, times, now, choice.as_of, until)
            both = contest(gates, persons, rows.table(stretch.condition)) if stretch.rows else None
            if both is None or both.unable is not None:
                continue
            found = judge_interim(_GATE, *both.losses(), choice.looks)
        except (DataError, IntegrityError, UsageError):
            # A version that is damaged or cannot score these rows leaves the question open; the check names the damage.
            continue
        if found.difference is None or found.low is None or found.high is None:
            note = Note(Code.CHOICE_OPEN, {"rows": found.rows, "verdict": found.sentence})
            yield ChoiceJudged(choice.event, found, None, note)
            continue
        figures = {"difference": found.difference, "low": found.low, "high": found.high, "alpha": found.alpha}
        note = Note(Code.CHOICE_COMPARED, {"rows": found.rows, "chosen": chosen, "instead_of": rival, **figures})
        # By the side of 0 on which the interval lies: two versions that lose the same make nobody right or wrong.
        outcome = "right" if found.high < 0.0 else "wrong" if found.low > 0.0 else None
        yield ChoiceJudged(choice.event, found, outcome, note)
