"""The notebooks: they run from top to bottom, keep no output, and their sliders follow the hand."""

import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.util import run_sync

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SECONDS = 360
"""Of one cell; a whole notebook takes 10 to 40 s of a core, but cores may be shared with many others."""


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def kernel() -> Iterator[AsyncKernelManager]:
    """One kernel for all notebooks, because starting one and importing what they share takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        manager = AsyncKernelManager(kernel_name="python3")
        yield manager
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)


ONCE = (
    "__import__('matplotlib_inline.config').config.InlineBackend.instance(parent=get_ipython())"
    ".print_figure_kwargs = {'bbox_inches': None}"
)
"""Draws every picture once. A box around what is drawn would draw it twice."""


def executed(notebook: nbformat.NotebookNode, folder: Path, kernel: AsyncKernelManager) -> nbformat.NotebookNode:
    """The notebook with its outputs; of what ran in the kernel before it knows no name."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {folder}\n{ONCE}"))
    client = NotebookClient(notebook, km=kernel, timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    try:
        client.execute()
    finally:
        client.kc.stop_channels()
    return notebook


def test_they_are_numbered() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{i}-" for i in range(9)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_stripped_and_say_what_they_are(path: Path) -> None:
    cells = read(path).cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    assert [cell["id"] for cell in cells] == [str(place) for place in range(len(cells))], "as nbstripout writes them"
    assert cells[0].source.startswith(f"# {path.stem[0]} · ")
    assert max(len(cell.source.splitlines()) for cell in cells) <= 40
    installing = [cell.source for cell in cells if "%pip install" in cell.source]
    assert len(installing) == 1, "Colab has what the others need after one cell"
    assert installing == [cells[1].source]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path: Path, tmp_path: Path, kernel: AsyncKernelManager) -> None:
    """What it took is printed, and shown by pytest -rP."""
    notebook = read(path)
    sliders = "WeightView" in "".join(cell.source for cell in notebook.cells)
    if sliders:
        notebook.cells.append(nbformat.v4.new_code_cell(MEASURED))
    start = time.perf_counter()
    cells = executed(notebook, tmp_path, kernel).cells
    print(f"{path.stem}: {time.perf_counter() - start:.1f} s")
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs) or "4-" in path.name
    if sliders:
        print(f"a slider's picture: {float(cells[-1].outputs[0].text):.0f} ms")


MEASURED = """
import time
took = []
for gamma in (1, 8, 64, 256):
    begin = time.perf_counter()
    assert view.redraw(gamma=gamma, m=0.25).startswith(b"\\x89PNG")
    took.append(1000 * (time.perf_counter() - begin))
assert view.redraw(gamma=1, m=0.25) != view.redraw(gamma=64, m=0.25)
print(min(took))
"""


@pytest.mark.parametrize(("source", "error"), [("1 / 0", "ZeroDivisionError"), ("known", "NameError")])
def test_a_broken_notebook_is_noticed(tmp_path: Path, kernel: AsyncKernelManager, source: str, error: str) -> None:
    first, broken = (
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]) for cell in ("known = 1", source)
    )
    executed(first, tmp_path, kernel)
    with pytest.raises(CellExecutionError, match=error):
        executed(broken, tmp_path, kernel)
