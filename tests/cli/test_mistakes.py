"""Mistakes of people: each has its exit code, a stable code and a message that helps."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.cli.made import Run, environment, one_object, process

TRAIN = ("train", "rows.parquet", "--target", "bought", "--drop", "count")


def refusal(run: Run, *arguments: str) -> tuple[int, str, str]:
    """Run with and without --json; both must agree. Gives exit code, code and message."""
    code, out, err = run(*arguments, "--json")
    error = one_object(out)["error"]
    assert error["exit_code"] == code
    assert run(*arguments) == (code, "", f"error: {error['message']}\n")
    assert "Traceback" not in err
    return code, error["code"], error["message"]


def test_c63_an_unknown_flag_is_refused_with_the_nearest_name(run: Run) -> None:
    code, slug, message = refusal(run, *TRAIN, "--alhpa", "1")
    assert (code, slug) == (2, "option-unknown")
    assert "--alpha" in message
    assert "batchlearn train --help" in message
    code, _, message = refusal(run, "train", "rows.parquet", "--tarqet", "bought")
    assert code == 2
    assert "--target" in message


def test_c63_an_unknown_command_is_refused_with_the_nearest_name(run: Run) -> None:
    code, slug, message = refusal(run, "trian", "rows.parquet")
    assert (code, slug) == (2, "command-unknown")
    assert '"train"' in message


@pytest.mark.parametrize(
    "flags", [["--alpha", "much"], ["--seed", "1.5"], ["--seed", "yes"], ["--threads", "two"], ["--holdout", "a fifth"]]
)
def test_c66_a_value_of_the_wrong_type_is_refused(run: Run, flags: list[str]) -> None:
    code, slug, message = refusal(run, *TRAIN, *flags)
    assert (code, slug) == (2, "option-type")
    assert flags[0] in message
    assert flags[1] in message


@pytest.mark.parametrize("flag", ["--alpha", "--tolerance", "--holdout"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf"])
def test_c67_numbers_out_of_range_are_refused(run: Run, flag: str, value: str) -> None:
    code, _, message = refusal(run, *TRAIN, f"{flag}={value}")
    assert code == 2
    assert value.removesuffix("1") in message


def test_c67_zero_is_a_penalty_but_no_tolerance(run: Run) -> None:
    assert refusal(run, *TRAIN, "--tolerance", "0")[0] == 2
    assert run(*TRAIN, "--alpha", "0")[0] == 0


def test_c68_no_threads_are_refused_and_too_many_are_fewer_with_a_warning(run: Run) -> None:
    assert refusal(run, *TRAIN, "--threads", "0")[:2] == (2, "threads-range")
    assert refusal(run, *TRAIN, "--threads", "-2")[0] == 2
    code, out, err = run(*TRAIN, "--threads", "1000000", "--json")
    assert code == 0
    assert err.startswith("warning: --threads 1000000")
    assert one_object(out)["certificate"]["status"] == "certified"


def test_c69_memory_that_is_no_size_or_too_little_is_refused_and_enough_is_said(run: Run) -> None:
    assert refusal(run, *TRAIN, "--memory", "much")[:2] == (2, "memory-not-a-size")
    code, slug, message = refusal(run, *TRAIN, "--memory", "1MB")
    assert (code, slug) == (5, "memory-too-small")
    enough = message.partition("--memory ")[2].split(",")[0]
    assert run(*TRAIN, "--memory", enough, "--output", "within")[0] == 0


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616"])
def test_c70_a_seed_that_is_no_64_bit_number_is_refused(run: Run, seed: str) -> None:
    assert refusal(run, *TRAIN, f"--seed={seed}")[:2] == (2, "seed-range")
    assert run(*TRAIN, "--output", "model", "--seed", "18446744073709551615")[0] == 0
    assert refusal(run, "evaluate", "model", "rows.parquet", f"--seed={seed}")[:2] == (2, "seed-range")


def test_c73_an_output_that_exists_is_refused_before_training_unless_forced(run: Run) -> None:
    assert run(*TRAIN, "--output", "model")[0] == 0
    before = Path("model/manifest.json").read_bytes()
    # The table does not exist: a refusal that names the output was made before looking at it.
    assert refusal(run, "train", "none.parquet", "--target", "y", "--output", "model")[:2] == (2, "output-exists")
    assert Path("model/manifest.json").read_bytes() == before
    assert run(*TRAIN, "--output", "model", "--force", "--alpha", "1")[0] == 0
    assert Path("model/manifest.json").read_bytes() != before


def test_c73_predictions_that_exist_are_kept_unless_forced(run: Run) -> None:
    run(*TRAIN, "--output", "model")
    Path("scored.csv").write_text("mine", encoding="utf-8")
    assert refusal(run, "predict", "model", "rows.csv", "-o", "scored.csv")[:2] == (2, "output-exists")
    assert Path("scored.csv").read_text(encoding="utf-8") == "mine"
    assert run("predict", "model", "rows.csv", "-o", "scored.csv", "--force")[0] == 0
    assert Path("scored.csv").read_text(encoding="utf-8").startswith('"prediction"')
    assert refusal(run, "predict", "model", "rows.csv", "-o", "rows.csv", "--force")[:2] == (2, "output-is-input")


@pytest.mark.parametrize(
    ("output", "slug"),
    [("scored.xlsx", "output-format"), ("none/scored.csv", "output-folder-missing"), ("here.csv", "output-is-folder")],
)
def test_a_name_that_cannot_hold_predictions_is_refused(run: Run, output: str, slug: str) -> None:
    run(*TRAIN, "--output", "model")
    Path("here.csv").mkdir()
    assert refusal(run, "predict", "model", "rows.csv", "-o", output)[:2] == (2, slug)


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a folder that not even an administrator may write to"
)
def test_c74_an_output_that_cannot_be_written_is_refused_before_training(run: Run) -> None:
    assert refusal(run, "train", "none.parquet", "--target", "y", "--output", "/proc/model")[0] == 5


@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet"])
def test_c74_a_full_disk_ends_a_prediction_with_nothing_left(run: Run, here: Path, name: str) -> None:
    run(*TRAIN, "--output", "model")

    def no_more_than_a_little() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    done = subprocess.run(
        [sys.executable, "-m", "batchlearn", "predict", "model", "rows.csv", "-o", name],
        env=environment(),
        cwd=here,
        capture_output=True,
        text=True,
        preexec_fn=no_more_than_a_little,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not [path for path in here.iterdir() if "scored" in path.name]


@pytest.mark.parametrize("address", ["http://example.org/rows.csv", "s3://bucket/rows.parquet", "file:rows.csv"])
def test_d62_an_address_is_refused_and_never_fetched(run: Run, address: str) -> None:
    assert refusal(run, "train", address, "--target", "y")[:2] == (2, "address-not-path")
    run(*TRAIN, "--output", "model")
    assert refusal(run, "predict", "model", address, "-o", "scored.csv")[:2] == (2, "address-not-path")


@pytest.mark.parametrize("command", ["evaluate", "predict", "verify"])
def test_what_is_no_model_is_refused(run: Run, command: str) -> None:
    more = ["-o", "scored.csv"] if command == "predict" else []
    assert refusal(run, command, "rows.csv", "rows.csv", *more)[0] == 6
    assert refusal(run, command, "none", "rows.csv", *more)[0] == 2


def test_missing_arguments_and_too_many_are_named(run: Run) -> None:
    assert refusal(run, "train", "rows.parquet")[1] == "option-missing"
    code, slug, message = refusal(run, *TRAIN, "--target", "size")
    assert (code, slug) == (2, "option-repeated")
    code, slug, message = refusal(run, "train", "rows.parquet", "rows.csv", "--target", "bought")
    assert (code, slug) == (2, "argument-unexpected")
    assert "quotes" in message


def test_errors_of_the_data_exit_with_3(run: Run) -> None:
    assert refusal(run, "train", "none.parquet", "--target", "y")[:2] == (3, "file-missing")
    code, slug, message = refusal(run, "train", "rows.parquet", "--target", "bougth")
    assert (code, slug) == (3, "column-missing")
    assert "'bought'" in message


def test_control_characters_in_a_message_do_not_reach_the_terminal(run: Run) -> None:
    code, _, err = run("train", "rows.parquet", "--target", "\x1b[31mred\x1b[0m")
    assert code == 3
    assert "\x1b" not in err


def test_an_internal_error_is_a_sentence_and_with_debug_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a loose end")

    monkeypatch.setattr("batchlearn.cli.train.open_table", broken)
    code, slug, message = refusal(run, *TRAIN)
    assert (code, slug) == (1, "internal")
    assert "RuntimeError: a loose end" in message
    assert "report" in message
    assert "Traceback" in run(*TRAIN, "--debug")[2]
    monkeypatch.setenv("BATCHLEARN_DEBUG", "1")
    assert "Traceback" in run(*TRAIN)[2]


def test_too_little_memory_exits_with_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("batchlearn.cli.train.open_table", greedy)
    assert refusal(run, *TRAIN)[:2] == (5, "memory")


def test_the_exit_code_reaches_the_shell(here: Path) -> None:
    done = process(["train", "none.parquet", "--target", "y"], here)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")


def test_c82_of_two_trainings_of_one_model_the_second_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = import_module("batchlearn.cli.train")
    real, before = module.iter_train, []

    def overtaken(*arguments: Any, **named: Any) -> Any:
        """Let another training of the same model begin and end while this one is under way."""
        fit = yield from real(*arguments, **named)
        monkeypatch.setattr(module, "iter_train", real)
        assert run(*TRAIN, "--output", "model", "--alpha", "1")[0] == 0
        before.append(Path("model/manifest.json").read_bytes())
        return fit

    monkeypatch.setattr(module, "iter_train", overtaken)
    code, out, _ = run(*TRAIN, "--output", "model", "--json")
    error = one_object(out)["error"]
    assert (code, error["code"]) == (2, "output-exists")
    assert "model" in error["message"]
    assert [Path("model/manifest.json").read_bytes()] == before
    assert run("verify", "model", "rows.parquet")[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["model", "model.html", "rows.csv", "rows.parquet"]


def test_d47_columns_that_the_model_does_not_read_are_counted(run: Run) -> None:
    run(*TRAIN, "--output", "model")
    code, out, _ = run("predict", "model", "rows.parquet", "-o", "scored.csv", "--json")
    assert code == 0
    assert one_object(out)["columns_not_used"] == 3  # "bought", "count", and "day", which is an identifier


@pytest.mark.parametrize(
    ("flags", "code", "slug"),
    [
        (["--split", "persons"], 2, "split-unknown"),
        (["--split", "group"], 2, "split-needs-group"),
        (["--split", "time"], 2, "split-needs-time"),
    ],
)
def test_a_split_that_cannot_be_is_refused(run: Run, flags: list[str], code: int, slug: str) -> None:
    assert refusal(run, *TRAIN, *flags)[:2] == (code, slug)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("equal", "class-weight-rule"),
        ("no=much", "class-weight-rule"),
        ("no=1,no=2", "class-weight-rule"),
        ("no=0", "class-weight-value"),
        ("maybe=2", "class-weight-label"),
    ],
)
def test_class_weights_that_say_nothing_are_refused(run: Run, text: str, slug: str) -> None:
    assert refusal(run, *TRAIN, "--class-weight", text)[:2] == (2, slug)
    if slug == "class-weight-rule":
        assert "yes=5,no=1" in refusal(run, *TRAIN, "--class-weight", text)[2]


def test_class_weights_for_a_number_are_refused(run: Run) -> None:
    arguments = ["train", "rows.parquet", "--target", "size", "--class-weight", "balanced"]
    assert refusal(run, *arguments)[:2] == (2, "class-weight-without-classes")


@pytest.mark.parametrize(
    ("flags", "slug"),
    [
        (["--cost-false-positive", "1"], "cost-missing"),
        (["--fee", "1"], "cost-missing"),
        (["--fee", "-1", "--cost-false-positive", "1", "--cost-false-negative", "1"], "fee-range"),
        (["--cost-false-negative", "1"], "cost-missing"),
        (["--cost-false-negative", "0", "--cost-false-positive", "1"], "cost-not-positive"),
        (["--cost-false-negative=nan", "--cost-false-positive", "1"], "cost-not-positive"),
        (["--cost-false-negative", "much", "--cost-false-positive", "1"], "option-type"),
    ],
)
def test_costs_that_decide_nothing_are_refused(run: Run, flags: list[str], slug: str) -> None:
    assert refusal(run, *TRAIN, *flags)[:2] == (2, slug)


def test_a_fee_for_a_model_without_costs_is_refused(run: Run) -> None:
    assert run(*TRAIN, "--output", "plain", "--alpha", "0.01")[0] == 0
    asked = ["predict", "plain", "rows.parquet", "-o", "scored.csv", "--fee", "1"]
    assert refusal(run, *asked)[:2] == (2, "no-costs")


def test_costs_for_a_number_are_refused(run: Run) -> None:
    flags = ["--cost-false-positive", "1", "--cost-false-negative", "2"]
    assert refusal(run, "train", "rows.parquet", "--target", "size", *flags)[:2] == (2, "costs-without-two-classes")
