from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from tests.retraining.made import SETTINGS_TEXT

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.errors import UsageError
from batchlearn.registry.place import SETTINGS, find_project
from batchlearn.retraining.policies import Every, EveryRows, Never, Span
from batchlearn.retraining.project import SAID_ELSEWHERE, open_project, parse_settings, with_policy, write_settings
from batchlearn.tables.table import Roles
from batchlearn.training.recipe import Recipe

SOURCE = '[source]\nfiles = "data/*.parquet"\ntarget = "y"\ntime = "t"\n'


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_settings(text)
    return caught.value.message


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    write_settings(tmp_path, SOURCE)
    project = open_project(tmp_path)
    assert project.policy == Never()
    assert (project.gate.mode, project.gate.alpha, project.gate.promote) == ("superiority", 0.05, "ask")
    assert project.settings.recipe.alpha is None
    assert project.text == SOURCE


def test_a_project_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    write_settings(tmp_path, SOURCE)
    inside = tmp_path / "data" / "2026"
    inside.mkdir(parents=True)
    assert find_project(inside) == tmp_path


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batchlearn init") as caught:
        find_project(tmp_path)
    assert caught.value.code == "no-project"


def test_the_settings_may_be_a_link_to_where_they_are_kept(tmp_path: Path) -> None:
    (tmp_path / "kept.toml").write_text(SOURCE)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / SETTINGS).symlink_to("../kept.toml")
    assert open_project(tmp_path / "project").text == SOURCE


def test_a_project_is_not_overwritten(tmp_path: Path) -> None:
    write_settings(tmp_path, SOURCE)
    with pytest.raises(UsageError, match="exists already"):
        write_settings(tmp_path, SOURCE + "[policy]\n")
    assert (tmp_path / SETTINGS).read_text() == SOURCE


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        (SOURCE + 'labeled = "k"\n', "'labelled'"),
        (SOURCE + "[recipe]\nalhpa = 1.0\n", "'alpha'"),
        (SOURCE + "[gates]\nalpha = 0.1\n", "'gate'"),
        (SOURCE + "[gate]\nmargins = 0.1\n", "'margin'"),
        (SOURCE + "[review]\nbudgte = 3\n", "'budget'"),
    ],
)
def test_c63_an_unknown_key_is_refused_with_the_nearest_name(wrong: str, nearest: str) -> None:
    assert f"did you mean {nearest}? See `batchlearn init --help`." in refusal(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (SOURCE + 'target = "z"\n', "it is no TOML"),  # C64: a key that comes twice
        ("source = 3\n", "'source'"),
        (SOURCE.replace('time = "t"\n', ""), "'source.time' is missing"),
        (SOURCE + "[recipe]\nseed = 1.5\n", "'recipe.seed' is '1.5'"),  # C66
        (SOURCE + '[recipe]\nseed = "1"\n', "'recipe.seed'"),
        (SOURCE + "[recipe]\nalpha = nan\n", "'recipe.alpha'"),  # C67
        (SOURCE + '[policy]\nwhen = "sometimes"\n', "'policy.when'"),
        (SOURCE + '[policy]\nwhen = "every"\n', "period is missing"),
        (SOURCE + '[policy]\nwhen = "every"\nperiod = "7d"\nrows = 5\n', "rows is given"),
        (SOURCE + "[policy]\nrows = 5\n", "rows is given"),
        (SOURCE + '[policy]\nwindow = "a year"\n', "no length of time"),
        (SOURCE + '[gate]\npromote = "always"\n', "'gate.promote'"),
        (SOURCE + "[gate]\nalpha = 0.9\n", "alpha"),
        (SOURCE + '[gate]\nmode = "non-inferiority"\n', "margin"),
        (SOURCE + "[gate]\nshare = 1.0\n", "'gate.share'"),
        (SOURCE + "[review]\nbudget = -1\n", "'review.budget'"),
        (SOURCE + "[review]\nmiss = 2.0\n", "together"),
        (SOURCE + 'query = "SELECT 1"\n', "either files"),
        (SOURCE.replace('files = "data/*.parquet"', 'database = "a.sqlite"'), "either files"),
        ("format_version = 2\n" + SOURCE, "upgrade"),
        ("format_version = 0\n" + SOURCE, "this batchlearn reads 1."),
        (SOURCE + "wait = [1]\n", "'source.wait' is '[1]'"),
        (SOURCE.replace('target = "y"', "target.name = 1"), "'source.target' is a table of its own"),
        (SOURCE.replace("data/*.parquet", ""), "'' is no path"),
        (SOURCE.replace("data/", "https://example.org/"), "only files of this machine"),
        (SOURCE + 'labelled = "t"\n', "time and labelled are both 't'"),
        (SOURCE + 'wait = "99999999d"\n', "more than 1,000 years"),
        (SOURCE + f"[policy]\nrows = {'9' * 5_000}\n", "it is no TOML"),
        (f"x = {'[' * 5_000}{']' * 5_000}\n" + SOURCE, "it is no TOML"),
        (SOURCE.replace("data/", "da\\u0000ta/"), "is no path"),
        (SOURCE + '[recipe]\ntolerance = 1e-6\n[policy]\nstart = "update"\n', "does not read all rows"),
        (SOURCE + "[recipe]\nholdout = 0.1\n", "a project has share in [gate]"),
        (SOURCE + "[recipe.costs]\nfalse_positive = 1.0\nfalse_negative = 2.0\n", "miss and fee in [review]"),
        (SOURCE + "[recipe]\nalpha = -1.0\n", "alpha is -1.0; it needs to be"),
        (SOURCE + "[recipe]\npower = 1.5\n", "Give --loss tweedie with it"),
        (SOURCE + "[recipe.rules]\nminimum_row = 3\n", "did you mean 'minimum_rows'?"),
        (SOURCE + 'weight = ["a"]\n', "'source.weight'"),
        (SOURCE + '[recipe]\nclass_weight = "balanced"\n[policy]\nstart = "warm"\n', "training from scratch alone"),
        (SOURCE + '[recipe]\nbatch_size = 1\n[policy]\nstart = "update"\n', "training from scratch alone"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: str, said: str) -> None:
    assert said in refusal(wrong)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a" * (1 << 21)], ids=["no text", "too large"])
def test_a_file_that_is_no_text_of_a_plausible_size_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        open_project(tmp_path)
    assert caught.value.code == "project-settings"


def test_a_mark_of_the_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    assert open_project(tmp_path).text == SOURCE


def test_the_policy_is_the_one_described(tmp_path: Path) -> None:
    write_settings(tmp_path, SOURCE + '[policy]\nwhen = "every"\nperiod = "12h"\n')
    assert open_project(tmp_path).policy == Every(Span(12.0, "h"))
    assert EveryRows(7) == EveryRows(7)
    (tmp_path / SETTINGS).write_text(SOURCE + '[policy]\nwhen = "rows"\nrows = 7\n')
    assert open_project(tmp_path).policy == EveryRows(7)


def test_a_project_says_everything_that_training_knows() -> None:
    text = (
        SOURCE
        + 'weight = "w"\nweight_kind = "frequency"\n'
        + 'drop = ["a", "b"]\nnull = ["NA"]\n[recipe]\nloss = "logistic"\nalpha = 1\nseed = 3\n'
        + 'split = "group"\nbatch_size = 256\nclass_weight = {yes = 2.0}\n[recipe.rules]\nminimum_rows = 5\n'
    )
    settings = parse_settings(text)
    assert settings.recipe == Recipe(
        loss="logistic",
        alpha=1.0,
        seed=3,
        split="group",
        batch_size=256,
        class_weight={"yes": 2.0},
        rules=EncodingRules(minimum_rows=5),
    )
    assert settings.source.roles == Roles(target="y", time="t", weight="w", weight_kind="frequency", drop=("a", "b"))
    assert settings.source.reading.null == ("NA",)
    undescribed = {each.name for each in fields(Recipe) if not each.metadata}
    assert undescribed <= {*SAID_ELSEWHERE, "rules"}


@pytest.mark.parametrize(
    "recipe",
    ['loss = "tweedie"\npower = 1.2\n', 'loss = "huber"\nthreshold = 2.0\n', "class_weight = {a = 1.0, b = 3.0}\n"],
)
def test_numbers_of_a_loss_and_class_weights_are_keys_too(recipe: str) -> None:
    assert parse_settings(SOURCE + "[recipe]\n" + recipe).recipe != Recipe()


def test_another_policy_leaves_what_it_does_not_change() -> None:
    text = SETTINGS_TEXT.replace(
        'when = "rows"\nrows = 300\n',
        'start = "scratch"\nwhen = "rows" # ours, "mostly"\nrows = 300\nwindow = "9d"\nstructure = "choose"  # dear\n',
    )
    changed = with_policy(text, "every 7d", 5.0)
    assert changed.partition("[policy]\n")[2] == (
        'start = "scratch"\nwhen = "every 7d" # ours, "mostly"\nprice = 5.0\nstructure = "keep"  # dear\n'
    )
    assert changed.partition("[policy]")[0] == text.partition("[policy]")[0]
