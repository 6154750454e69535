"""The rules of the house that a machine can hold; CONTRIBUTING.md has them in words."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchlearn
from batchlearn import errors
from batchlearn.data.rows import Rows
from batchlearn.data.rows.memory import MemoryRows

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "batchlearn"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LARGEST_FILE = 400
LARGEST_BODY = 60
LARGEST_FOLDER = 12
LARGEST_ROOT = 28

EMPTY_NAMES = {"common", "helpers", "misc", "util", "utils"}
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "yaml.load", "os.system"}
IMPORTED_AS = {
    "charset-normalizer": "charset_normalizer",
    "mlflow-skinny": "mlflow",
    "python-calamine": "python_calamine",
    "scikit-learn": "sklearn",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def body_lines(function: Function) -> int:
    """Count the lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imported(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node


def public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield public functions and classes, and the public methods of those classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def text_files() -> Iterator[Path]:
    """Yield what a person wrote in this repository, outside of caches and environments."""
    folders = [ROOT / name for name in ("src", "tests", "docs", "scripts", "benchmarks", ".ci")]
    inside = [path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
    suffixes = {"", ".py", ".md", ".toml", ".txt", ".json", ".cpp", ".hpp"}
    for path in sorted([*inside, *ROOT.glob("*")]):
        # In a worktree .git is a file that says where the repository is.
        if path.is_file() and path.name != ".git" and path.suffix in suffixes:
            yield path


# --- public names ---------------------------------------------------------------------------------------------------


def test_public_names_are_sorted_once_and_have_a_home() -> None:
    assert batchlearn.__all__ == sorted(set(batchlearn.__all__))
    assert set(batchlearn.__all__) == {*batchlearn._HOME, "__version__"}
    assert set(batchlearn.__all__) <= set(dir(batchlearn))


def test_type_checkers_see_the_public_names() -> None:
    guarded = [node for node in tree(PACKAGE / "__init__.py").body if isinstance(node, ast.If)]
    seen = {
        f"{node.module}.{alias.asname}"
        for block in guarded
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {f"{home}.{name}" for name, home in batchlearn._HOME.items()}


@pytest.mark.parametrize("name", batchlearn.__all__)
def test_a_public_name_is_what_its_home_defines(name: str) -> None:
    value = getattr(batchlearn, name)
    if name != "__version__":
        assert value.__module__ == batchlearn._HOME[name]
        assert value.__name__ == name


def test_the_version_is_the_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert batchlearn.__version__ in {project["version"], "0+uninstalled"}


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'converged'"):
        batchlearn.converged  # noqa: B018 - asking for the attribute is the test


def test_every_error_is_public() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == {name for name, home in batchlearn._HOME.items() if home == "batchlearn.errors"}


def test_the_readme_uses_public_names_only() -> None:
    used = set(re.findall(r"\bbl\.(\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert used, "the README shows no use from Python"
    assert used <= set(batchlearn.__all__)


# --- sizes and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_the_sizes(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LARGEST_FILE
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, Function)]
    assert [f"{place(path, f)} {f.name}" for f in functions if body_lines(f) > LARGEST_BODY] == []


def test_folders_keep_the_size() -> None:
    folders = {path.parent for path in [*SOURCES, *TESTS]} | {PACKAGE.parent, ROOT / "tests"}
    entries = {folder: [e for e in folder.iterdir() if e.name != "__pycache__"] for folder in folders}
    # The tests mirror the package: their root has a folder for each of its packages.
    limits = {f: LARGEST_ROOT if f in (PACKAGE, ROOT / "tests") else LARGEST_FOLDER for f in folders}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if len(entries[f]) > limits[f]] == []


def test_every_module_has_a_noun() -> None:
    named = {path: {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts} for path in SOURCES}
    assert [str(path) for path, parts in named.items() if parts & EMPTY_NAMES] == []


def test_a_type_name_means_one_thing() -> None:
    """A leading underscore does not make a name another one."""
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.strip("_"), []).append(place(path, node))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_public_is_described(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module), "the module has no docstring"
    assert [f"{place(path, d)} {d.name}" for d in public_definitions(module.body) if not ast.get_docstring(d)] == []


# --- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_rows_know_their_chunks(path: Path) -> None:
    if path.parent == PACKAGE / "data" / "rows":
        return
    nodes = list(ast.walk(tree(path)))
    reached = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "chunks"]
    assert [place(path, node) for node in reached] == [], "rows.total, rows.map_rows and rows.stretches read chunks"
    # Totals that grow with the rows are joined once for each chunk: what each row has comes from map_rows.
    totals = [node for node in nodes if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "combine"]
    assert [place(path, node) for node in totals if "concatenate" in ast.unparse(node)] == []
    # Arrays become rows where rows are built, and where a matrix is given instead of a table.
    makers = {"data/build.py", "training/matrix.py", "estimators/incremental.py"}
    makes = [name for name, _ in imported(path) if name == "batchlearn.data.rows.stored"]
    assert not makes or path.relative_to(PACKAGE).as_posix() in makers


def test_rows_are_asked_for_by_what_is_done_with_them() -> None:
    asked = {name for name in vars(Rows) if not name.startswith("_")}
    assert {"total", "map_rows", "sample", "stretches", "layout", "fingerprint"} <= asked
    assert asked <= set(dir(MemoryRows)) | set(MemoryRows.__dataclass_fields__)
    assert not {"take", "chunks", "read"} & asked


# --- the loop -------------------------------------------------------------------------------------------------------


def kinds_of(module: str) -> set[str]:
    """Name the classes that the modules of a package define."""
    paths = [path for path in SOURCES if path.relative_to(PACKAGE).as_posix().startswith(module)]
    return {node.name for path in paths for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] == "training"], ids=lambda p: p.name
)
def test_training_asks_solvers_regimes_and_losses_and_does_not_look_what_they_are(path: Path) -> None:
    special = kinds_of("solvers/") | kinds_of("objectives/losses/") | kinds_of("training/regimes.py")
    assert {"Newton", "NewtonState", "LimitedMemory", "HuberLoss", "SoftmaxLoss", "FullBatch"} <= special
    tested = [
        place(path, call)
        for name, call in calls(path)
        if name in {"isinstance", "issubclass", "type"} and special & set(re.findall(r"\w+", ast.unparse(call)))
    ]
    assert tested == []
    imports = {alias.name for _, node in imported(path) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not imports & {"HuberLoss", "MajorisedHuber", "SoftmaxLoss"}, "ask the loss"


# --- the cycle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((PACKAGE / "retraining" / "cycle").glob("*.py")), ids=lambda path: path.name)
def test_the_cycle_opens_nothing_and_asks_no_clock(path: Path) -> None:
    # What it may not import, import contracts say in pyproject.toml; these need no import.
    named = {"open", "print", "input"} | {"now", "today", "utcnow", "perf_counter", "time_ns", "monotonic"}
    assert [place(path, call) for name, call in calls(path) if name.rpartition(".")[2] in named] == []


# --- what passes between packages -----------------------------------------------------------------------------------

UNTYPED = re.compile(r"\b(?:dict|Mapping|MutableMapping)\[str, (?:Any|object)\]")
# Modules in which JSON, TOML or a template begins or ends: what is public there may be, or take, such a dictionary.
EDGES = {
    "cli/arguments.py": "what --json prints",
    "models/files.py": "the record of a fit is written with the model; what is in it, training alone knows",
    "models/schema.py": "model.json before it is written, with that record",
    "registry/ledger.py": "an event as it is written",
    "registry/promotions.py": "a promotion has the verdict on record, as the registry read it",
    "registry/records.py": "a record as it was read",
    "registry/version.py": "the description of a version as it was read",
    "retraining/cycle/candidate.py": "an evaluation as it goes on record; looks as a record has them",
    "retraining/cycle/events.py": "an evaluation as it goes on record",
    "retraining/cycle/state.py": "a recipe and interim analyses as a record has them",
    "retraining/shell/forget.py": "the certificate of a version as its record has it",
    "retraining/shell/records.py": "the description of a version as it was read",
    "retraining/shell/turn.py": "a turn as it goes on record and as --json prints it",
    "retraining/sources/project_source.py": "where rows came from, as it goes on record",
    "retraining/sources/snapshots.py": "what was fetched, as it goes on record",
    "retraining/gate.py": "looks so far, which callers keep as JSON until the next ones",
    "retraining/verdict.py": "the same, as the gate gives them",
    "training/fit.py": "what is saved beside a model",
    "formatting/notes.py": "the values of a note, of such types as its sentence names; records as they were read",
}


def public_annotations(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Yield what public functions take and return and public classes hold; to_json and from_json are edges by name."""
    for node in public_definitions(tree(path).body):
        if isinstance(node, ast.ClassDef):
            held = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            fields = ((ast.unparse(each.target), each.annotation) for each in held)
            yield from ((f"{node.name}.{name}", type_) for name, type_ in fields if not name.startswith("_"))
        elif node.name not in {"to_json", "from_json"}:
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            yield from ((f"{node.name}({each.arg})", each.annotation) for each in parameters if each.annotation)
            if node.returns:
                yield f"{node.name} ->", node.returns


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_dictionary_of_anything_passes_between_packages(path: Path) -> None:
    found = [name for name, type_ in public_annotations(path) if UNTYPED.search(ast.unparse(type_))]
    if path.relative_to(PACKAGE).as_posix() in EDGES:
        assert found, "it is no edge any more: take it off the list"
    else:
        assert found == [], "a frozen dataclass says what is in it"


def test_edges_are_modules() -> None:
    assert set(EDGES) <= {path.relative_to(PACKAGE).as_posix() for path in SOURCES}


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_read_is_ever_run(path: Path) -> None:
    found = [place(path, node) for name, node in imported(path) if name.partition(".")[0] in UNSAFE_MODULES]
    for name, call in calls(path):
        allows_pickle = any(
            keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
            for keyword in call.keywords
        )
        if name in UNSAFE_CALLS or allows_pickle:
            found.append(f"{place(path, call)} {name}")
    assert found == []


# What code of other people raises has no name that is known here: it becomes an error of ours, in one function.
FOREIGN_CODE = "models/brought/formats.py"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_are_caught_by_name(path: Path) -> None:
    handlers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    caught = [(h, set(re.findall(r"\w+", ast.unparse(h.type))) if h.type else {"Exception"}) for h in handlers]
    everything = [place(path, h) for h, names in caught if names & {"Exception", "BaseException"}]
    assert len(everything) == (path.relative_to(PACKAGE).as_posix() == FOREIGN_CODE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_argument_has_a_name(path: Path) -> None:
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, Function) and node.args.kwarg]
    assert [f"{place(path, f)} {f.name}" for f in functions] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_reads_the_environment(path: Path) -> None:
    reads = re.findall(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))
    assert not reads or path.relative_to(PACKAGE).parts[0] in {"cli", "cli.py"}


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Extras that users choose are imported where they are needed; those for development are not.
    extras = project["optional-dependencies"]
    chosen = [requirement for name in extras.keys() - {"dev", "docs"} for requirement in extras[name]]
    declared = {re.split(r"[^\w-]", requirement)[0] for requirement in (*project["dependencies"], *chosen)}
    allowed = {IMPORTED_AS.get(name, name) for name in declared} | {"batchlearn", *sys.stdlib_module_names}
    used = {name.partition(".")[0] for path in SOURCES for name, _ in imported(path)}
    assert used <= allowed
    assert allowed - sys.stdlib_module_names - used == set(), "declared and not imported"


# --- text -----------------------------------------------------------------------------------------------------------


def test_no_text_names_the_machine_it_was_written_on() -> None:
    machine = re.compile(r"(?<![\w./])/(?:work|home|root|farm|Users)/\w|\bfile:///|(?:extra-)index-url")
    found = [str(path.relative_to(ROOT)) for path in text_files() if machine.search(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_doubt_is_left_in_the_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b", text) == []
    assert re.findall(r"#\s*type:\s*[i]gnore(?!\[)", text) == [], "a bare type-ignore"


def test_links_inside_the_documentation_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []
