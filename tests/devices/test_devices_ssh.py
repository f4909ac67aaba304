"""Measuring on a board over ssh: the real sshd on loopback, with its link cut, its keys wrong, or nobody there."""

from __future__ import annotations

import getpass
import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from device_models import HOST, write_convs
from ssh_board import Board, needs_sshd
from typer.testing import CliRunner

from hwnas.arch import space_instance
from hwnas.cli import app
from hwnas.devices import job, link, profile
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.measure import measure, stream_rounds
from hwnas.devices.rounds import Round
from hwnas.devices.transports import ssh
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import DeviceError, InputError, UnreachableError
from hwnas.latency import build, journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.table_files import load_table
from hwnas.progress import Silent


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    needs_sshd()
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board")
    yield board
    link_to.cache_clear()
    board.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: write_convs(folder / f"{name}.onnx", depth) for name, depth in (("shallow", 1), ("deep", 3))}


def rounds_on(board: Board, models: dict[str, Path], **options: Any) -> list[Round]:
    return measure(board.device(), models, models["shallow"], **{"rounds": 2, "round_ms": 0.1} | options)


def test_the_board_is_asked_what_it_is(board: Board) -> None:
    device = board.device()
    assert condition_of(device) == condition_of(HOST)
    facts = link_to(device).facts
    assert facts.packages["onnxruntime"]
    assert facts.free_bytes
    assert facts.clock_ns
    condition_of(device)
    assert board.connections == 1


def test_rounds_come_over_the_link_and_models_are_gone_in_the_end(board: Board, models: dict[str, Path]) -> None:
    rounds = rounds_on(board, models)
    assert Counter(one.name for one in rounds) == {"shallow": 2, "deep": 2}
    assert len(board.files(".onnx")) == 2
    link_to(board.device()).close()
    assert board.files("") == [*board.files(".py"), "lock"]
    assert len(board.files(".py")) == 2


def test_files_are_copied_only_where_their_checksum_is_not_there(
    board: Board, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = ssh.Ssh.send
    monkeypatch.setattr(ssh.Ssh, "send", lambda self, path, target: sent.append(path.name) or send(self, path, target))
    rounds_on(board, models)
    rounds_on(board, models)
    assert sent == ["runner.py", "runner_aid.py", "shallow.onnx", "deep.onnx"]
    newer = tmp_path / "newer.py"
    newer.write_text(job._RUNNER.read_text() + "# newer\n")
    monkeypatch.setattr(job, "_RUNNER", newer)
    rounds_on(board, models)
    assert sent[4:] == ["newer.py"]
    assert len(board.files(".py")) == 3


def test_what_arrives_damaged_is_refused(
    board: Board, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    link_to(board.device())
    send = ssh.Ssh.send
    monkeypatch.setattr(ssh.Ssh, "send", lambda self, path, target: send(self, models["deep"], target))
    with pytest.raises(DeviceError, match=r"1 of 2 files arrived damaged, the first is shallow\.onnx"):
        rounds_on(board, models)


@pytest.mark.dear
def test_a_profile_whose_link_is_cut_twice_has_every_row_of_an_uncut_one(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Round] = []

    def quick(*arguments: Any, **options: Any) -> list[Round]:
        taken[:] = profile.profile_rounds(*arguments, **options | {"round_ms": 0.1, "max_extra": 0})
        return taken

    monkeypatch.setattr(journal, "profile_rounds", quick)
    space, device = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10), board.device()
    board.cuts = [60_000, 60_000]
    table = open_table(device, tmp_path / "table")
    complete(table, space, device, tmp_path / "table", lacking(table, space), progress=Silent())
    assert board.connections == 3
    assert not board.cuts
    assert load_table(tmp_path / "table").rows.keys() == {spec.key for spec in space.ops}
    assert not lacking(table, space)
    wanted = {*table.rows, *build.whole_networks(space, 0)}
    assert Counter(one.name for one in taken) == dict.fromkeys(wanted, 10)  # two processes of five rounds, uncut
    assert len({(one.name, one.round) for one in taken}) == len(taken)
    assert not list((tmp_path / "table").glob("*.jsonl"))
    assert table.provenance["packages"]["onnxruntime"]


def test_a_link_that_stays_down_ends_after_the_stated_time_and_keeps_what_was_measured(
    board: Board, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "RECONNECT_S", 0.0)
    stream = stream_rounds(board.device(), models, models["shallow"], rounds=10**6, round_ms=0.1)
    taken = [next(stream) for _ in range(3)]
    board.close()
    with pytest.raises(UnreachableError, match="could not be made again within 0 s") as caught:
        taken += stream
    assert len(taken) >= 3
    assert "ssh -p" in caught.value.hint


@pytest.mark.dear
def test_a_runner_whose_host_went_silent_is_ended_by_the_next(board: Board, models: dict[str, Path]) -> None:
    board.cuts, board.hangs_up = [20_000], False
    model = models["deep"]
    stream = stream_rounds(board.device(), {"a": model}, model, rounds=10**6, round_ms=0.1, stall_s=5)
    rounds = [next(one for one in stream if not one.process), next(one for one in stream if one.process)]
    stream.close()
    assert board.connections == 2
    assert rounds[0].round == 0
    assert rounds[1].round == rounds[1].process > 10


def test_a_link_that_is_cut_before_any_round_is_not_tried_for_ever(
    board: Board, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    link_to(board.device())
    monkeypatch.setattr(link.Link, "_events", lambda *_: (_ for _ in ()).throw(UnreachableError("cut")))
    with pytest.raises(UnreachableError, match="cut"):
        rounds_on(board, models)
    assert board.connections == 1 + 2


def test_a_board_that_is_another_one_after_the_cut_is_refused(
    board: Board, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = link_to(board.device())
    monkeypatch.setattr(own, "facts", link.replace(own.facts, cpu={"model name": "another one"}))
    with pytest.raises(DeviceError, match=r"'board' was another-one/onnxruntime.*, and is"):
        rounds_on(board, models)


def test_a_wrong_host_key_is_refused(board: Board) -> None:
    board.trust((board.folder / "stranger.pub").read_text())
    with pytest.raises(DeviceError, match="is not the one in known_hosts") as caught:
        condition_of(board.device())
    assert not isinstance(caught.value, UnreachableError)
    assert "ssh-keygen -R" in caught.value.hint


def test_an_unknown_host_key_is_refused_and_not_learned(board: Board) -> None:
    board.trust("")
    for _ in range(2):
        with pytest.raises(DeviceError, match="is not known: ssh-ed25519 SHA256:"):
            condition_of(board.device())
    assert (board.folder / "known_hosts").read_text() == ""


def test_a_user_who_is_not_let_in(board: Board) -> None:
    with pytest.raises(DeviceError, match="does not let") as caught:
        condition_of(board.device(key="stranger"))
    assert not isinstance(caught.value, UnreachableError)
    with pytest.raises(InputError, match="there is no file"):
        condition_of(board.device(key="nothing"))
    for path in ("~nobody-of-this-name/key", "a" * 5000):
        with pytest.raises(InputError, match="there is no file"):
            SshAddress("pi", key=path).options()


def test_nobody_there(board: Board) -> None:
    board.close()
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        condition_of(board.device())
    assert "Errno" not in str(caught.value)
    assert "see that the board is on" in caught.value.hint


def test_a_port_that_never_speaks_is_given_up(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = board.device().ssh
        assert address is not None
        mute_address = replace(address, port=mute.getsockname()[1])
        with pytest.raises(UnreachableError, match="cannot be reached"):
            ssh.Ssh(mute_address)


def test_commands_end_as_they_end(board: Board) -> None:
    address = board.device().ssh
    assert address is not None
    way = ssh.Ssh(address)
    assert list(way.start(["cat"], b"a\nb c\n", stall_s=60)) == [b"a\n", b"b c\n"]
    assert list(way.start(["printf", "%s", "$HOME 'x'"], stall_s=60)) == [b"$HOME 'x'"]
    with pytest.raises(DeviceError, match="sh ended early with code 3: no room"):
        list(way.start(["sh", "-c", "echo no room >&2; exit 3"], stall_s=60))
    with pytest.raises(DeviceError, match="sh was ended by SIGKILL"):
        list(way.start(["sh", "-c", "kill -9 $$"], stall_s=60))
    with pytest.raises(DeviceError, match="code 127"):
        list(way.start(["no-such-program"], b"x" * 10_000_000, stall_s=60))
    with pytest.raises(UnreachableError, match=r"silent for 0\.2 s"):
        list(way.start(["tail", "-f", "/dev/null"], stall_s=0.2))
    way.close()
    with pytest.raises(UnreachableError, match=r"link to .* was cut"):
        list(way.start(["true"], stall_s=60))


def test_a_folder_that_cannot_be_made(board: Board, models: dict[str, Path]) -> None:
    (board.folder / "work").write_text("a file")
    with pytest.raises(DeviceError, match="sh ended early with code"):
        condition_of(board.device())


def test_check_over_ssh(board: Board) -> None:
    done = CliRunner().invoke(app, ["devices", "check", str(board.toml()), "--json", "--quiet"])
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts["condition"] == condition_of(HOST).folder.as_posix()
    assert facts["reference"]["floor_us"] > 0
    assert facts["reference"]["noise"] >= 0
    assert facts["packages"]["onnxruntime"]
    link_to.cache_clear()
    board.close()
    done = CliRunner().invoke(app, ["devices", "check", str(board.toml()), "--json", "--quiet"])
    assert done.exit_code == 5
    assert "cannot be reached" in json.loads(done.stdout)["error"]


def test_without_openssh_there_is_a_hint(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(board.folder))
    with pytest.raises(DeviceError, match="cannot start ssh") as caught:
        condition_of(board.device())
    assert "OpenSSH" in caught.value.hint


def test_the_users_configuration_says_where_an_alias_is_and_over_which_host(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a person at a terminal has use for is left out, and what would leave a host key unchecked too."""
    folder = board.folder
    board.configure(
        f"""Host behind
    ProxyJump jump
    UserKnownHostsFile {folder}/known_behind
    StrictHostKeyChecking no
    RequestTTY force
    RemoteCommand top
    ControlMaster auto
    ControlPersist yes
Host jump behind
    HostName 127.0.0.1
    Port {board.port}
    User {getpass.getuser()}
    IdentityFile {folder}/user
    UserKnownHostsFile {folder}/known_hosts
""",
        monkeypatch,
    )
    known = folder / "known_behind"
    known.write_bytes((folder / "known_hosts").read_bytes())
    way = ssh.Ssh(SshAddress("behind"))
    assert board.connections == 2
    assert list(way.start(["echo", "in"], stall_s=60)) == [b"in\n"]
    assert board.connections == 2
    way.close()
    known.write_text("")
    with pytest.raises(DeviceError, match="is not known"):
        ssh.Ssh(SshAddress("behind"))
    assert known.read_text() == ""
    board.configure("Nonsense yes\n", monkeypatch)
    with pytest.raises(InputError, match=r"OpenSSH refuses its configuration: .*Bad configuration option: nonsense"):
        ssh.Ssh(SshAddress("behind"))


def test_the_connection_ends_with_the_process_that_made_it(board: Board) -> None:
    address = board.device().ssh
    assert address is not None
    way = ssh.Ssh(address)
    assert way._master is not None
    assert way._master.stdin is not None
    way._master.stdin.close()  # as the system does for a process that was killed
    assert way._master.wait(timeout=30) is not None
    with pytest.raises(UnreachableError, match=r"link to .* was cut"):
        list(way.start(["true"], stall_s=60))
    folder = way._folder
    way.close()
    assert not folder.exists()


def test_a_file_with_any_name_can_be_the_key(board: Board) -> None:
    address = board.device().ssh
    assert address is not None
    odd = board.folder / "a %h $b 'c\"\\ d"
    for name in ("user", "known_hosts"):
        odd.mkdir(exist_ok=True)
        (odd / name).write_bytes((board.folder / name).read_bytes())
        (odd / name).chmod(0o600)
    way = ssh.Ssh(replace(address, key=str(odd / "user"), known_hosts=str(odd / "known_hosts")))
    way.close()
