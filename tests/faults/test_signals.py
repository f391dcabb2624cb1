"""Every signal at every stage of a command: nothing is half-written, no traceback, and the same command goes on."""

import signal
from pathlib import Path

import pytest

import goal_analysis.study.report
import goal_analysis.study.tuning  # noqa: F401
from goal_analysis.cli.options import INTERRUPTED

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
SMALL = (
    *("--set", "model.image.dim=8", "--set", "model.tokenizer.name=words", "--set", "model.tokenizer.min_count=1"),
    *("--set", "training.epochs=2", "--set", "training.batch_size=20", "--set", "training.log_steps=1"),
    *("--set", "training.checkpoint_steps=2"),
)
TRAINING = {
    "data are opened": ("open", "train_ims.npy", 1),
    "the record gets its name": ("os.rename", "run.json", 1),
    "the first step is logged": ("open", "log.jsonl", 6),
    "the middle of an epoch": ("open", "log.jsonl", 12),
    "evaluation": ("open", "dev_ims.npy", 4),
    "a checkpoint is begun": ("os.mkdir", ".step-*", 2),
    "a checkpoint gets its name": ("os.rename", "step-*", 2),
    "the result gets its name": ("os.rename", "result.json", 1),
}
"""An audit event, a name of a file, and for the how many-th time."""


@pytest.fixture(scope="module")
def data(folder_of_words) -> Path:
    return folder_of_words(40)


def lasting(folder: Path) -> dict[str, bytes]:
    """What a run has, but for the clock and what the command was."""
    names = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in names
        if path.name not in ("seconds.jsonl", "run.json", "run.lock")
    }


@pytest.fixture(scope="module")
def trained(commanded, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no signal meets."""
    folder = tmp_path_factory.mktemp("trained")
    assert commanded(training(data, folder / "run"), folder / "printed") == 0
    return folder / "run"


def training(data: Path, run: Path) -> tuple[object, ...]:
    return ("train", "--preset", "bag_of_words", "--data", data, "--objective", "vse_pp", *SMALL, "-o", run)


@pytest.mark.parametrize("stage", TRAINING)
@pytest.mark.parametrize("name", SIGNALS)
def test_training_goes_on_after_a_signal_at_any_stage(
    commanded, data: Path, trained: Path, tmp_path: Path, name: str, stage: str
) -> None:
    words, printed = training(data, tmp_path / "run"), tmp_path / "printed"
    code = commanded(words, printed, getattr(signal, name), TRAINING[stage])
    check_end(code, name, printed, f"what is done stays in {tmp_path / 'run'}/")
    assert commanded(words, printed) == 0
    assert lasting(tmp_path / "run") == lasting(trained)


def check_end(code: int, name: str, printed: Path, said: str) -> None:
    """A command ends by SIGKILL, or says in words that it was interrupted."""
    if name == "SIGKILL":
        assert code == -signal.SIGKILL
    else:
        assert code == INTERRUPTED
        assert said in printed.read_text()
    assert "Traceback" not in printed.read_text()


SHORT = {
    "report": (("report", "RUN", "-o", "report.html"), ("os.rename", "report.html", 1)),
    "retrieve": (("retrieve", "RUN", "--split", "dev", "--text", "a red dog"), ("open", "dev_ims.npy", 1)),
    "evaluate": (("evaluate", "RUN", "--split", "dev", "--ranks", "ranks.json"), ("os.rename", "ranks.json", 1)),
    "export": (("export", "nca/linear@hardest", "--force", "-o", "circle.py"), ("os.rename", "circle.py", 1)),
}
"""Commands that end soon, and a moment in each."""


@pytest.mark.parametrize("command", SHORT)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_short_command_ends_by_a_signal_and_leaves_what_there_was(
    commanded, monkeypatch: pytest.MonkeyPatch, trained: Path, tmp_path: Path, name: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given, moment = SHORT[command]
    words = [str(trained) if word == "RUN" else word for word in given]
    (tmp_path / moment[1]).write_text("old")
    number = getattr(signal, name)
    assert commanded(words, "printed", number, moment) == (INTERRUPTED if name == "SIGINT" else -number)
    assert "Traceback" not in Path("printed").read_text()
    assert Path(moment[1]).read_text() == "old"
    assert commanded(words, "printed") == 0
    assert (Path(moment[1]).read_text() == "old") is (command == "retrieve")


LONG = {
    "study": (("--objective", "vse_pp", "--budget", "1", "--seeds", "1"), ("os.rename", "study.json", 1)),
    "discover": (("--baseline", "vse_pp", "--budget", "1", "--seeds", "1"), ("os.rename", "study.json", 1)),
    "compare": (("--preset", "bag_of_words", "--objective", "vse_pp", "--seeds", "1"), ("open", "driver.lock", 1)),
}


@pytest.mark.parametrize("command", LONG)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_study_says_that_it_goes_on(commanded, data: Path, tmp_path: Path, name: str, command: str) -> None:
    """Before its first run; in the middle of its runs see the tests of studies."""
    given, moment = LONG[command]
    words = (command, "--data", data, *SMALL, *given, "-o", tmp_path / "out")
    code = commanded(words, tmp_path / "printed", getattr(signal, name), moment)
    check_end(code, name, tmp_path / "printed", f"what is done stays in {tmp_path / 'out'}/")


FULL = {
    "a table": ("presets",),
    "JSON": ("retrieve", "RUN", "--split", "dev", "--text", "a red dog", "--json"),
    "much text": ("show", "circle", "--json"),
    "an objective": ("show", "circle"),
    "help": ("train", "--help"),
    "the version": ("--version",),
    "a training run": ("train", "--preset", "bag_of_words", "--data", "DATA", "--objective", "vse_pp", *SMALL),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("printed", FULL)
def test_a_full_standard_output_is_said(
    commanded, monkeypatch: pytest.MonkeyPatch, trained: Path, data: Path, tmp_path: Path, printed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [{"RUN": str(trained), "DATA": str(data)}.get(word, word) for word in FULL[printed]]
    assert commanded(words, "/dev/full", errors="errors") == 2
    assert Path("errors").read_text().endswith("standard output: No space left on device\n")
    assert "Traceback" not in Path("errors").read_text()
