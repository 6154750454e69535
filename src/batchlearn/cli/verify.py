"""`batchlearn verify`: a model's certificate, checked again by anyone who has the rows."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, Count
from batchlearn.cli.options import (
    NO_CODE,
    THESE_FILES,
    WHOLE,
    CodeOptions,
    FileFlags,
    Memory,
    PartFlags,
    files_of,
    rules_of,
)
from batchlearn.cli.progress import watch
from batchlearn.cli.train import threads_given
from batchlearn.data.target import Task
from batchlearn.errors import IntegrityError
from batchlearn.report.document import Document
from batchlearn.report.training.brief import certificate_sentence, ledger_sentence
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.fit import FORMAT_VERSION
from batchlearn.training.verification.stored import Verification, iter_verify_model


def verify(
    model: Annotated[str, Parameter(help="Folder of a model, as train wrote it.")],
    data: Annotated[str, Parameter(help="The rows that it was trained on, in any format.")],
    /,
    *,
    files: FileFlags = THESE_FILES,
    part: PartFlags = WHOLE,
    code: CodeOptions = NO_CODE,
    threads: Annotated[Count | None, Parameter(help="Threads; the cores, up to 8, unless given.")] = None,
    memory: Memory = None,
) -> CommandResult:
    """Read the rows again and check a model's certificate against them.

    The rows, their order and every value must be those of the training. Exit code 6 where the certificate does not
    hold.
    """
    rows, budget = files_of(data, part), budget_of(memory)
    rules, workers = rules_of(files), threads_given(threads)
    with within(budget):
        verification = watch(iter_verify_model(model, rows, rules, threads=workers, allowed=code.allowed))
    record: dict[str, Any] = {"format_version": FORMAT_VERSION, "model": model, "data": data, **verification.to_json()}
    if not verification.holds:
        refusal = IntegrityError(" ".join(verification.reasons), code="certificate-does-not-hold")
        record["error"] = {"code": refusal.code, "message": refusal.message, "exit_code": refusal.exit_code}

    document = Document()
    show_verification(document, verification, model)

    return CommandResult(record, document, 0 if verification.holds else IntegrityError.exit_code)


def show_verification(document: Document, verification: Verification, model: str) -> None:
    """Say whether the certificate holds, and if not, why."""
    if verification.holds:
        if verification.stated.certified:
            document.title(f"The certificate of {model} holds for these rows")
        else:
            document.title(f"{model} was trained on these rows, and scores them as then")
    else:
        document.title(f"The certificate of {model} does not hold for these rows")
        for reason in verification.reasons:
            document.bullet(reason, "red")
    for note in verification.notes:
        document.bullet(note)
    proved = certificate_sentence(verification.certificate, Task.NUMBER)
    if not verification.certificate.certified:
        proved = proved._replace(mark="nothing")
    document.facts(
        [
            ("Rows", ledger_sentence(verification.rows)),
            ("Stated", certificate_sentence(verification.stated, Task.NUMBER)),
            ("Proved", proved),
        ]
    )
