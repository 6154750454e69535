"""The cycle without a disk: versions are values in memory, and a turn is the events that the cycle gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from batchlearn.formatting.notes import recorded
from batchlearn.models.encoded import EncodedModel
from batchlearn.progress import Progress
from batchlearn.retraining.cycle.events import (
    ChoiceJudged,
    Event,
    JudgedAgain,
    Promoted,
    RowsCounted,
    Settled,
    Trained,
)
from batchlearn.retraining.cycle.run import run_cycle
from batchlearn.retraining.cycle.state import (
    Champion,
    CycleClock,
    CycleState,
    LiveVersion,
    Newest,
    PastVersion,
    Plan,
    Rehearsed,
    RowSource,
)


@dataclass
class History:
    """What a registry would hold, as values: the state of the cycle, and the models of its versions."""

    state: CycleState = field(default_factory=CycleState)
    trained: list[tuple[float, Trained]] = field(default_factory=list)

    def champion(self) -> Champion:
        live = self.state.live
        assert live is not None
        as_of, version = self.trained[live.number - 1]
        fit = version.fit
        strengths, recipe = fit.structure.strengths, fit.recipe.to_json()
        return Champion(
            fit.model, as_of, as_of, live.generation, strengths, recipe, version.kept, structure=fit.structure
        )

    def model(self, number: int) -> EncodedModel:
        return self.trained[number - 1][1].fit.model

    def past(self) -> list[PastVersion]:
        return [
            PastVersion(number, as_of, version.fit.rows.used) for number, (as_of, version) in enumerate(self.trained, 1)
        ]

    def rows_of(self, number: int) -> None:
        """Their times say which rows a version knew."""

    def rehearse_newest(self) -> Rehearsed:
        live = self.state.live
        said = recorded("Scored in the process of the test.")
        return Rehearsed(True, said, None if live is None else live.generation)

    def turn(self, rows: RowSource, clock: CycleClock, plan: Plan, anyway: bool = False) -> list[Event]:
        """Turn the cycle once; what it says is the state of the next turn."""
        found: list[Event] = []
        for event in run_cycle(self.state, rows, self, clock, plan, anyway=anyway):
            if not isinstance(event, Progress):
                found.append(event)
                self.state = self._after(event, found, clock)
        return found

    def _after(self, event: Event, events: Iterable[Event], clock: CycleClock) -> CycleState:
        state, newest = self.state, self.state.newest
        match event:
            case Trained(verdict=verdict, judged_against=against, alarms=alarms):
                self.trained.append((clock.now, event))
                (counted,) = (one for one in events if isinstance(one, RowsCounted))
                known, latest, number = counted.look.known, counted.look.latest, len(self.trained)
                assert latest is not None
                last = counted.look.last
                newest = Newest(number, clock.now, latest, known, clock.at, verdict, against, None, alarms, last=last)
                return replace(state, newest=newest)
            case JudgedAgain(verdict=verdict):
                assert newest is not None
                return replace(state, newest=replace(newest, verdict=verdict))
            case Settled(asked=asked):
                assert newest is not None
                times = (*state.asked, clock.at) if asked else state.asked
                return replace(state, newest=replace(newest, judged_at=clock.now), asked=times)
            case Promoted():
                assert newest is not None
                generation = 1 if state.live is None else state.live.generation + 1
                return replace(state, live=LiveVersion(newest.number, generation))
            case ChoiceJudged(about, verdict, outcome):
                looked = [
                    replace(one, looked=clock.now, looks=verdict.state) if one.event == about else one
                    for one in state.overrides
                    if one.event != about or outcome is None
                ]
                return replace(state, overrides=tuple(looked))
        return state
