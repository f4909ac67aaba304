"""One contract for executors: processes here, and Ray where it is installed; and where `--on` sends tasks."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.errors import ClusterError, DivergedError, InputError
from hwnas.executors import place as places
from hwnas.executors.executor import Executor, executor_on
from hwnas.executors.local_executor import LocalExecutor
from hwnas.executors.place import Place, place_of
from hwnas.executors.task import Work
from hwnas.schema import read_json

HERE = Path(__file__).parent
NUMBERS = np.arange(5)


@dataclass
class Lab:
    """An executor that computes one task at a time, and the folder of what its tasks keep."""

    executor: Executor
    folder: Path

    def submit(self, name: str, **task: Any) -> Future[Path]:
        return self.executor.submit({"add": 0} | task, self.folder / f"{name}.json")

    def pipe(self, name: str) -> Path:
        os.mkfifo(self.folder / name)
        return self.folder / name


def work_in(folder: Path) -> Work:
    (folder / "shared.json").write_text('{"a": 1}')
    np.save(folder / "numbers.npy", NUMBERS)
    return Work("executor_tasks:total", folder, "a total was made")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield work_in(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def cluster(work: Work) -> Iterator[None]:
    """A Ray cluster of this machine, with two CPUs, whose workers find the tasks."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.dear)])
def executor(request: pytest.FixtureRequest, work: Work) -> Iterator[Executor]:
    made: Executor
    if request.param == "local":
        made = LocalExecutor(1, work)
    else:
        request.getfixturevalue("cluster")
        from hwnas.executors.ray_executor import RayExecutor

        made = RayExecutor(Place.parse("ray"), work, at_once=1)
    with made:
        yield made


@pytest.fixture
def lab(executor: Executor, tmp_path: Path) -> Lab:
    return Lab(executor, tmp_path)


def test_results_are_kept_and_come_from_what_is_shared_and_the_task(lab: Lab) -> None:
    first, second = lab.submit("a", add=1), lab.submit("b", add=2)
    assert [read_json(one.result())["sum"] for one in (second, first)] == [NUMBERS.sum() + 2, NUMBERS.sum() + 1]
    assert read_json(lab.folder / "a.json") == {"sum": NUMBERS.sum() + 1, "settings": '{"a": 1}', "third": 1 / 3}


def test_a_result_that_is_there_is_not_made_again(lab: Lab) -> None:
    (lab.folder / "a.json").write_text("kept")
    assert lab.submit("a", diverges=True).result().read_text() == "kept"


def test_an_error_is_that_of_the_task_and_the_next_one_is_computed(lab: Lab) -> None:
    failed, after = lab.submit("a", diverges=True), lab.submit("b")
    with pytest.raises(DivergedError, match="while a total was made: the loss is not a number") as caught:
        failed.result()
    assert caught.value.hint == "a smaller --lr"
    assert after.result().exists()
    assert not (lab.folder / "a.json").exists()


def test_a_defect_names_what_was_raised(lab: Lab) -> None:
    with pytest.raises(InputError, match="ZeroDivisionError: 1 / 0"):
        lab.submit("a", defect=True).result()
    assert lab.submit("b").result().exists()


def test_a_task_that_has_not_begun_can_be_cancelled(lab: Lab) -> None:
    pipe, begun = lab.pipe("go"), lab.pipe("begun")
    running, waiting = lab.submit("a", pid=str(begun), wait=str(pipe)), lab.submit("b")
    begun.read_text()
    assert waiting.cancel()
    assert not running.cancel()
    pipe.write_text("")
    assert running.result().exists()
    assert lab.submit("c").result().exists()
    assert not (lab.folder / "b.json").exists()


def test_a_killed_worker_costs_its_task_only(lab: Lab, request: pytest.FixtureRequest) -> None:
    """Ray computes the task again; here its error says what happened to the process."""
    killed = lab.submit("a", **{"die once": str(lab.folder / "died")})
    if isinstance(lab.executor, LocalExecutor):
        with pytest.raises(InputError, match="exit code -9") as caught:
            killed.result()
        assert "--resume" in caught.value.hint
    else:
        assert read_json(killed.result())["sum"] == NUMBERS.sum()
    assert (lab.folder / "died").exists()
    assert lab.submit("b").result().exists()


def left_in_the_midst(executor: Executor, folder: Path) -> int:
    """Leave an executor while it computes what would never end; the process that did."""
    lab = Lab(executor, folder)
    with executor:
        begun = lab.pipe("begun")
        lab.submit("a", pid=str(begun), wait=str(lab.pipe("never")))
        return int(begun.read_text())


def test_on_leaving_what_runs_is_ended(work: Work, tmp_path: Path) -> None:
    pid = left_in_the_midst(LocalExecutor(1, work), tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.dear
@pytest.mark.usefixtures("cluster")
def test_on_leaving_what_a_cluster_computes_is_ended(work: Work, tmp_path: Path) -> None:
    from hwnas.executors.ray_executor import RayExecutor

    pid = left_in_the_midst(RayExecutor(Place.parse("ray"), work), tmp_path)
    with suppress(ProcessLookupError):  # it has ended already
        ended, _, _ = select.select([os.pidfd_open(pid)], [], [], 60.0)
        assert ended


@pytest.mark.parametrize(
    "script", sorted((HERE.parents[1] / "examples" / "slurm").glob("*.sh")), ids=lambda path: path.name
)
def test_the_scripts_for_slurm_are_bash(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("local:1", Place()),
        ("local:12", Place(12)),
        ("ray", Place(0)),
        ("ray://head.example:10001", Place(0, "ray://head.example:10001")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert Place.parse(text) == place_of(text) == place
    assert place.cluster == text.startswith("ray")


@pytest.mark.parametrize(
    "text", ["", "local", "local:0", "local:-1", "local:x", "ray:", "ray://", "ray://head", "slurm"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--on takes local:N") as caught:
        Place.parse(text)
    assert "--on local:4" in caught.value.hint


def test_workers_are_the_older_name_of_processes() -> None:
    assert place_of(None) == Place(1)
    assert place_of(None, 3) == place_of("local:3")
    with pytest.raises(InputError, match="--on ray and --workers 2 both"):
        place_of("ray", 2)


def test_without_ray_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    for more in ([], ["--dry-run"]):
        done = CliRunner().invoke(app, ["search", "--budget-ms", "5", "--on", "ray", *more])
        assert done.exit_code == InputError.exit_code
        assert "pip install 'hwnas[ray]'" in done.output
    assert list(tmp_path.iterdir()) == []


LOSES_ITS_HEAD = """
import os, signal, sys
from pathlib import Path

import ray

from hwnas.errors import ClusterError
from hwnas.executors import ray_executor
from hwnas.executors.place import Place
from hwnas.executors.task import Work

folder = Path(sys.argv[1])
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
ray_executor._GONE_S = 1.0
with ray_executor.RayExecutor(Place.parse("ray"), Work("executor_tasks:total", folder, "a total was made")) as executor:
    executor.submit({"add": 1}, folder / "before.json").result()
    waits = executor.submit({"add": 2, "pid": str(folder / "begun"), "wait": str(folder / "never")}, folder / "a.json")
    (folder / "begun").read_text()
    for path in Path("/proc").glob("[0-9]*"):
        words = (path / "stat").read_text().rpartition(")")[2].split() if (path / "stat").exists() else []
        if words[1:2] == [str(os.getpid())] and "gcs_server" in (path / "cmdline").read_text():
            os.kill(int(path.name), signal.SIGKILL)
    try:
        waits.result()
    except ClusterError as error:
        (folder / "said").write_text(f"{error}\\n{error.hint}")
    os._exit(0)  # Ray has nothing to close any more
"""


@pytest.mark.dear
def test_a_head_that_is_gone_is_one_error_and_results_stay(work: Work, tmp_path: Path) -> None:
    """In a process of its own, which its cluster ends with."""
    pytest.importorskip("ray")
    for name in ("begun", "never"):
        os.mkfifo(tmp_path / name)
    work_in(tmp_path)
    done = subprocess.run([sys.executable, "-c", LOSES_ITS_HEAD, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text()
    assert "the head of the Ray cluster must answer" in said
    assert "--resume" in said
    assert read_json(tmp_path / "before.json")["sum"] == NUMBERS.sum() + 1
    assert not (tmp_path / "a.json").exists()


def test_a_cluster_that_is_not_there_is_an_error_of_its_own(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ray:
        """Stands for the package, where no cluster answers."""

        @staticmethod
        def is_initialized() -> bool:
            return False

        @staticmethod
        def init(**_: Any) -> None:
            raise ConnectionError("ray client connection timeout\nsee the logs")

    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setattr(places, "find_spec", lambda _: True)
    with pytest.raises(ClusterError, match=r"ray://gone:10001 cannot be joined: ray client .* timeout$") as caught:
        executor_on(Place.parse("ray://gone:10001"), work)
    assert caught.value.exit_code == 11
    assert "--on local:1" in caught.value.hint


@pytest.mark.parametrize(
    ("has", "gpus", "said"),
    [
        ([{"CPU": 1.0}, {"CPU": 8.0}], 0.0, ""),
        ([{"CPU": 8.0, "GPU": 1.0}], 0.5, ""),
        ([{"CPU": 1.0}], 0.0, "no node of the Ray cluster has 2 CPUs, which"),
        ([{"CPU": 8.0}, {"CPU": 1.0, "GPU": 4.0}], 0.5, "no node of the Ray cluster has 2 CPUs and 0.5 GPU, which"),
    ],
)
def test_a_cluster_without_room_for_a_task_is_told(
    has: list[dict[str, float]], gpus: float, said: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = MagicMock()
    ray.nodes.return_value = [{"Alive": True, "Resources": one} for one in has] + [
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}}
    ]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(places, "find_spec", lambda _: True)
    told: list[str] = []
    with executor_on(Place.parse("ray://head:10001"), replace(work, threads=2, gpus=gpus), told.append):
        assert [one[: len(said)] for one in told] == [said] * bool(said)
