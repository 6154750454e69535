"""The page of one turn of the cycle: what came, what was decided and why, what the judge saw, and what is asked."""

from __future__ import annotations

from collections.abc import Iterable

from batchlearn.formatting.notes import Code, Note, joined
from batchlearn.formatting.numbers import at_most, count, duration, fixed, percent, telling_places
from batchlearn.report.document import Answer, Block, Bullets, Fact, FactLines, Page, Section, Sentence
from batchlearn.report.figures.plots import Entry, Forest, Interval, forest
from batchlearn.report.html import render
from batchlearn.report.values import LONGEST_SENTENCE, short
from batchlearn.retraining.shell.turn import CycleResult
from batchlearn.retraining.verdict import JudgedLosses, Verdict

# What the counts of a turn are; one that is not named here is shown by its own name.
_ROWS = {
    "seen": "there by now, with a label or without one",
    "known": "with a label that is known by now",
    "new": "landed since, and dated after what had landed by then",
    "late": "landed since, dated before what had landed by then",
    "labelled": "there at the last training, and labelled since",
    "changed": "learned from, and stand with other values now",
    "gone": "learned from, and not there any more",
}
_BRACKETS = (Code.BRACKET, Code.NO_BRACKET, Code.NO_BRACKET_WITHOUT_TOTALS)
_STARTS = {
    "scratch": "from scratch",
    "warm": "warm, from the champion's coefficients",
    "update": "an update of the champion by what came",
    "online": "on the new rows, each once, one by one from the champion on",
    "fine-tune": "fine-tuned on the new rows, with the champion as an anchor",
}
_MODES = {
    "superiority": "promotes what is better, rejects what is not",
    "non-inferiority": "promotes what is not worse by more than the margin",
    "anytime": "as superiority, however often one looks",
}


def turn_page(turn: CycleResult, target: str, at: str, by: str) -> str:
    """Return the page of a turn as HTML. It has no script, asks for nothing, and escapes every name.

    `target` is the column that is predicted, `at` and `by` say when and on whose word the turn was.
    """
    facts = [Fact(f"rows {name}", f"{amount:,}") for name, amount in _counts(turn)[:3]]
    facts += [Fact("version", str(turn.version))] if turn.version is not None else []
    asked = _answers(turn)
    apart = {*_BRACKETS, Code.EVIDENCE_NEEDED, Code.WORSE_THAN_CONSTANT, Code.JUDGED_BY_LATER_ROWS}
    others = _said(note for note in turn.notes if note.code not in apart)
    every = (
        Section("next", "What is asked", "What is asked of you", _next(turn)),
        Section("alarms", "Alarms", "What should not be", _bullets(_said(turn.alarms))),
        Section("rows", "What came", "What came", _rows(turn)),
        Section("decision", "Decision", "What was decided, and why", _decision(turn)),
        Section("judge", "The judge", "What the judge saw", () if turn.gate is None else _judge(turn, turn.gate)),
        Section("notes", "Notes", "Notes", _bullets(others)),
    )
    page = Page(
        kind="Turn of the cycle",
        title=short(target),
        subtitle=f"{headline(turn)}. {at}, by {by}.",
        facts=(*facts, *([Fact("it took", duration(turn.seconds))] if turn.seconds else [])),
        cards=tuple(one for one in asked if one.brief),
        looks=(),
        sections=tuple(section for section in every if section.blocks),
        answers=tuple(one for one in asked if not one.brief),
    )
    return render(page)


def headline(turn: CycleResult, dry_run: bool = False) -> str:
    """Say in a line what became of a turn."""
    if turn.halted:
        return "An alarm: nothing is trained, the champion stays"
    if turn.version is None:
        return f"Would {turn.decision}" if dry_run else "Kept"
    if turn.promoted:
        return f"Version {turn.version} is live"
    if turn.asked is not None:
        waits = {
            "promotion": "passed the gate and waits for a person",
            "rejection": "was rejected; a person is asked",
            "alarm": "is not live; a person is asked about an alarm",
        }
        return f"Version {turn.version} {waits[turn.asked]}"
    verdict = "" if turn.gate is None else turn.gate.verdict
    plain = {"reject": "was rejected", "promote": "passed the gate and is not live"}
    return f"Version {turn.version} {plain.get(verdict, f'is not live: {verdict}')}"


def next_commands(turn: CycleResult) -> tuple[tuple[str, str], ...]:
    """Return what a person may do next: in words, and the command to type."""
    if turn.halted:
        mended = "Once the column is back, the next turn goes on by itself; to turn at once:"
        meant = "Where it is gone for good, train without it:"
        return ((mended, "batchlearn retrain"), (meant, "batchlearn retrain --anyway"))
    if turn.version is None:
        return ()
    if turn.promoted:
        return (("To make the version live again that was live before:", "batchlearn rollback --why WHY"),)
    passed = turn.gate is not None and turn.gate.verdict == "promote"
    if passed and turn.rehearsed:
        agree, decline = f"batchlearn promote {turn.version}", f"batchlearn promote {turn.version} --decline"
        return (("To make it live:", agree), ("To leave the champion live:", decline))
    if not turn.rehearsed:
        failed = "It did not score its sample rows to the same bits and cannot go live. To train again:"
        return ((failed, "batchlearn retrain --anyway"),)
    forced = f"batchlearn promote {turn.version} --force --why WHY"
    return (("To make it live against the gate, with your reason:", forced),)


def _counts(turn: CycleResult) -> list[tuple[str, int]]:
    found = [(name, turn.rows[name]) for name in (*_ROWS, *(turn.rows.keys() - _ROWS.keys())) if name in turn.rows]
    return [(name, amount) for name, amount in found if isinstance(amount, int)]


# --- questions ------------------------------------------------------------------------------------------------------


def _answers(turn: CycleResult) -> list[Answer]:
    found = [_outcome(turn)]
    if turn.alarms:
        said, alarms = count(len(turn.alarms), "alarm"), tuple(_said(turn.alarms))
        found.append(Answer("Is anything as it should not be?", said, "warn", (), "alarms", alarms))
    if turn.gate is not None:
        found.append(_better(turn.gate))
        if turn.gate.losses is not None:
            found.append(_beside_constant(turn, turn.gate.losses))
    if turn.reasons:
        decided = turn.decision.capitalize()
        found.append(Answer("Why did it train, or not?", decided, "plain", (turn.reason,), "decision"))
    if turn.certificate is not None:
        found.append(_finished(turn))
    return found


def _outcome(turn: CycleResult) -> Answer:
    tone = "good" if turn.promoted else "warn" if turn.halted or turn.asked or not turn.rehearsed else "plain"
    said = tuple(f"{words} `{command}`" for words, command in next_commands(turn)[:1])
    return Answer("What became of it?", headline(turn), tone, (), "next", said or (turn.reason,))


def _better(verdict: Verdict) -> Answer:
    short_of = {"promote": ("Yes", "good"), "reject": ("No", "plain")}
    answer, tone = short_of.get(verdict.verdict, ("Not enough evidence", "warn"))
    if any(reason.code in (Code.NO_CHAMPION, Code.NO_CONTEST) for reason in verdict.reasons):
        answer = "Nothing was compared"
    return Answer("Is it better than the champion?", answer, tone, (), "judge", (joined(verdict.reasons),))


def _beside_constant(turn: CycleResult, losses: JudgedLosses) -> Answer:
    question = "Is the champion better than a constant?"
    if losses.champion is None or losses.constant is None:
        return Answer(question, "Not told", "plain", (), "judge", ("One of the two has no loss on these rows.",))
    worse = losses.champion > losses.constant
    places = telling_places([losses.champion, losses.constant, losses.challenger])
    figures = f"{fixed(losses.champion, places)} against {fixed(losses.constant, places)}"
    told = [note for note in (*turn.alarms, *turn.notes) if note.code is Code.WORSE_THAN_CONSTANT]
    found = [note for note in told if note.values["who"] == "champion"]
    sure = any((note.values["low"] or -1.0) >= 0.0 for note in found)
    answer = ("No" if sure else "Not on these rows") if worse else "Yes"
    said = (*_said(found), "The constant is fitted on what was known before the judging rows.")
    return Answer(question, f"{answer}: {figures}", "warn" if worse else "good", (), "judge", said)


def _finished(turn: CycleResult) -> Answer:
    question, said = "Is its training finished?", turn.certificate or {}
    bound = said.get("loss_bound")
    if bound is None:
        return Answer(question, "Not proved", "warn", (f"There is no certificate: {said.get('reason')}.",), "decision")
    proved = f"The loss over its {count(said['rows'], 'row')} is proved to be within {at_most(bound)} of the optimum."
    return Answer(question, "Yes, within its certificate", "good", (proved,), "decision")


# --- sections -------------------------------------------------------------------------------------------------------


def _said(notes: Iterable[Note]) -> list[str]:
    return [short(str(note), LONGEST_SENTENCE) for note in notes]


def _bullets(sentences: list[str]) -> tuple[Block, ...]:
    return (Bullets(tuple(("", said) for said in sentences)),) if sentences else ()


def _next(turn: CycleResult) -> tuple[Block, ...]:
    asked = turn.asked is not None or turn.halted
    lead = "A person is asked." if asked else "Nothing has to be done. What can be done:"
    commands = next_commands(turn)
    said = [block for words, command in commands for block in (Sentence("line", words), Sentence("command", command))]
    return (Sentence("lead", lead), *said) if commands else ()


def _rows(turn: CycleResult) -> tuple[Block, ...]:
    rows = tuple(Fact(name, f"{amount:,}", _ROWS.get(name, "")) for name, amount in _counts(turn))
    return (FactLines(rows),) if rows else ()


def _decision(turn: CycleResult) -> tuple[Block, ...]:
    facts = [Fact("decided", turn.decision), Fact("because", turn.reason)]
    if turn.version is not None and turn.start is not None:
        facts.append(Fact("trained", _STARTS.get(turn.start, turn.start)))
        if turn.start_asked not in (None, turn.start):
            facts.append(Fact("asked for", f'start = "{turn.start_asked}"'))
    facts += [Fact("expected gain", said) for said in _said(one for one in turn.notes if one.code in _BRACKETS)]
    if turn.certificate is not None:
        facts.append(Fact("certificate", " ".join(_finished(turn).sentences)))
    return (FactLines(tuple(facts)),)


def _judge(turn: CycleResult, verdict: Verdict) -> tuple[Block, ...]:
    facts = [Fact("verdict", verdict.verdict), Fact("because", joined(verdict.reasons))]
    rate = f"wrong in {100 * verdict.alpha:g} % of cases at most"
    facts += [Fact("the gate", f"{verdict.mode}: {_MODES[verdict.mode]}; {rate}")]
    wanted = (Code.JUDGED_BY_LATER_ROWS, Code.WORSE_THAN_CONSTANT, Code.EVIDENCE_NEEDED)
    named = dict(zip(wanted, ("which rows", "beside a constant", "what would be enough"), strict=True))
    told = [note for note in (*turn.alarms, *turn.notes) if note.code in named]
    facts += [Fact(named[note.code], short(str(note), LONGEST_SENTENCE)) for note in told]
    figures = [] if verdict.losses is None else [_losses(verdict.losses)]
    figures += [] if verdict.difference is None else [_difference(verdict, verdict.difference)]
    return (*figures, FactLines(tuple(facts)))


def _losses(losses: JudgedLosses) -> Forest:
    who = {
        "champion": (losses.champion, "the version that is live", "model"),
        "challenger": (losses.challenger, "what the recipe makes of the rows before those that judge", "series4"),
        "constant": (losses.constant, "fitted on the rows before those that judge", "other"),
    }
    places = telling_places([loss for loss, _, _ in who.values() if loss is not None])
    base = losses.champion
    entries = []
    for name, (loss, detail, role) in who.items():
        if loss is not None:
            beside = "" if base is None or loss == base or not base > 0.0 else f" ({_change(loss - base, base)})"
            entries.append(Entry(name, detail, Interval(loss, role=role), f"{fixed(loss, places)}{beside}"))
    caption = f"Mean loss on {count(losses.rows, 'later row')} that neither was trained on; lower is better."
    return forest("Loss on the judging rows", caption, "mean loss", entries)


def _difference(verdict: Verdict, difference: float) -> Forest:
    low, high, between = verdict.low, verdict.high, "no interval"
    places = telling_places([end for end in (low, difference, high) if end is not None])
    if low is not None and high is not None:
        between = f"{100 * (1 - verdict.alpha):g} % interval: {fixed(low, places)} to {fixed(high, places)}"
    mark = Interval(difference, low, high)
    entry = Entry("challenger minus champion", between, mark, fixed(difference, places))
    caption = "Below zero the challenger is better; it is promoted where all of its interval is."
    return forest("Difference of the two", caption, "difference of mean losses", [entry], zero=True)


def _change(difference: float, level: float) -> str:
    return f"{percent(abs(difference) / level)} {'lower' if difference < 0.0 else 'higher'}"
