from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from made_up_parents import CLASSES, SIZE, WIDTH, checkpoint, made_up, saved
from torch import Tensor, nn

from hwnas.arch.primitives import NORM_EPSILON
from hwnas.arch.spaces import parent_network
from hwnas.errors import InputError, StorageError
from hwnas.files import sha256_of
from hwnas.parents import PARENTS, find_parent, import_weights, weights_of
from hwnas.parents.checkpoint_names import TIMM, Naming
from hwnas.parents.inherit import module_with
from hwnas.parents.parent import Package
from hwnas.parents.parent_weights import kept_at

LITE, MOBILE = "efficientnet-lite0", "mobilenet-v2"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "naming"),
    [
        (name, naming)
        for name in (LITE, MOBILE, "mobilenet-v3-small", "mobilenet-v4-conv-small", "ofa-mobilenet-v3")
        for naming in find_parent(name).namings
    ],
)
def test_a_checkpoint_becomes_the_weights_of_a_parent(name: str, naming: Naming, tmp_path: Path) -> None:
    made, parent = made_up(name), find_parent(name)
    imported = import_weights(saved(tmp_path / "a.pth", made, naming), parent, WIDTH)
    again = weights_of(parent, WIDTH)
    added = naming.epsilon - NORM_EPSILON
    for found in (imported, again):
        assert (found.classes, found.source, len(found.sha256)) == (CLASSES, "a.pth", 64)
        assert found.tensors.keys() == made.tensors.keys()
        for key, value in made.tensors.items():
            expected = value + added if key.endswith("running_var") else value
            torch.testing.assert_close(found.tensors[key], expected, rtol=1e-6, atol=0)


def test_safetensors_and_nested_checkpoints_are_read_alike(tmp_path: Path) -> None:
    made, parent = made_up(), find_parent(LITE)
    state = {name: value.contiguous() for name, value in checkpoint(made, TIMM).items()}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "b.pt")
    first, second = (import_weights(tmp_path / name, parent, WIDTH) for name in ("a.safetensors", "b.pt"))
    assert all(torch.equal(value, second.tensors[key]) for key, value in first.tensors.items())


def test_another_epsilon_is_the_same_function(tmp_path: Path) -> None:
    """Against the same module with torch's norms of the parent's own epsilon."""
    made, parent = made_up(), find_parent(LITE)
    network = made.network(resolution=SIZE)
    reference = module_with(network, made.tensors).eval()
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = parent.namings[1].epsilon
    imported = import_weights(saved(tmp_path / "a.pth", made, TIMM), parent, WIDTH)
    x = torch.randn(3, *network.input_shape)
    with torch.no_grad():
        expected, found = reference(x), module_with(network, imported.tensors).eval()(x)
        unfolded = module_with(network, made.tensors).eval()(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((unfolded - expected).abs().max()) > 0.05


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint ran')",)


def damaged(state: dict[str, Tensor], how: str) -> object:
    last = "classifier.weight"
    match how:
        case "lacks":
            del state[last]
        case "adds":
            state["other.weight"] = torch.zeros(3)
        case "shape":
            state[last] = state[last][:, :-1].clone()
        case "nan":
            state[last][0, 0] = float("nan")
        case "variance":
            state["bn1.running_var"][0] = -1e-4  # which the other epsilon would hide
        case "int64" | "complex64":
            state[last] = state[last].to(getattr(torch, how))
        case "qint8":
            state[last] = torch.quantize_per_tensor(state[last], 0.1, 0, torch.qint8)
        case "sparse" | "sparse_csr":
            state[last] = state[last].to_sparse(layout=getattr(torch, "sparse_coo" if how == "sparse" else how))
        case "nested":
            state[last] = torch.nested.nested_tensor(list(state[last]))
        case "meta":
            state[last] = state[last].to("meta")
        case "giant":
            state[last] = torch.zeros(1, 1).expand(10**6, 10**6)
        case "giant bias":
            state["classifier.bias"] = torch.zeros(1).expand(10**9)
        case "repeated":
            state[last] = torch.zeros(1, 1).expand(state[last].shape)
        case "list":
            return [state[last]]
    return state


@pytest.mark.filterwarnings("ignore:.*(deprecated|beta|prototype)")
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("lacks", "lacks 'classifier.weight'"),
        ("adds", "also holds 'other.weight'"),
        ("shape", "must have the shape"),
        ("nan", "finite"),
        ("variance", "no variance below 0"),
        ("int64", "dense tensor of floats, not torch.int64"),
        ("complex64", "floats, not torch.complex64"),
        ("qint8", "floats, not torch.qint8"),
        ("sparse", "floats, not torch.sparse_coo"),
        ("sparse_csr", "floats, not torch.sparse_csr"),
        ("nested", "nested"),
        ("meta", "one on meta"),
        ("giant", "must have the shape"),
        ("giant bias", "must have the shape"),
        ("repeated", "store each of its numbers"),
        ("list", "tensors by name, not list"),
    ],
)
def test_what_is_no_such_parent_is_refused_and_nothing_is_kept(how: str, message: str, tmp_path: Path) -> None:
    parent = find_parent(LITE)
    torch.save(damaged(checkpoint(made_up(), TIMM), how), tmp_path / "a.pth")
    with pytest.raises(InputError, match=message):
        import_weights(tmp_path / "a.pth", parent, WIDTH)
    assert not kept_at(parent, WIDTH).exists()


def test_no_code_in_a_checkpoint_runs_and_no_file_raises_anything_else(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_bytes(b"hello world")
    (tmp_path / "text.safetensors").write_bytes(b"hello world")
    content = saved(tmp_path / "good.pth", made_up(), TIMM).read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    for name in ("evil.pth", "pickle.pth", "empty.pth", "text.pth", "text.safetensors", "cut.pth", "missing.pth"):
        with pytest.raises(InputError):
            import_weights(tmp_path / name, find_parent(LITE), WIDTH)


def test_a_damaged_kept_file_is_told(tmp_path: Path) -> None:
    parent = find_parent(LITE)
    import_weights(saved(tmp_path / "a.pth", made_up(), TIMM), parent, WIDTH)
    path = kept_at(parent, WIDTH)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        weights_of(parent, WIDTH)
    import_weights(tmp_path / "a.pth", parent, WIDTH)
    path.rename(kept_at(find_parent("efficientnet-lite3"), WIDTH))
    with pytest.raises(InputError, match="must hold weights of efficientnet-lite3 at width"):
        weights_of(find_parent("efficientnet-lite3"), WIDTH)


def test_every_width_has_a_file_of_its_own(tmp_path: Path) -> None:
    parent, near = find_parent(LITE), 0.10000001
    path = saved(tmp_path / "a.pth", made_up(), TIMM)
    for width in (WIDTH, near):
        import_weights(path, parent, width)
    assert [weights_of(parent, width).width for width in (WIDTH, near)] == [WIDTH, near]
    assert kept_at(parent, 1) == kept_at(parent, 1.0)
    kept_at(parent, near).replace(kept_at(parent, WIDTH))
    with pytest.raises(InputError, match=r"at width 0\.1, not of efficientnet-lite0 at width 0\.10000001"):
        weights_of(parent, WIDTH)


def test_a_package_is_used_where_its_checksum_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.pth").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    parent = replace(find_parent(LITE), package=Package("made-up", "package/a.pth", "0" * 64))
    with pytest.raises(InputError, match="must have the SHA-256 000") as caught:
        weights_of(parent)
    assert "pip install" in caught.value.hint


def test_a_package_is_read_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hwnas.parents.parent.parent_network", lambda name, **given: parent_network(name, **given | {"width": WIDTH})
    )
    digest = sha256_of(saved(tmp_path / "a.pth", made_up(), TIMM))
    monkeypatch.syspath_prepend(str(tmp_path))
    parent = replace(find_parent(LITE), package=Package("made-up", "a.pth", digest))
    (tmp_path / "cache").write_bytes(b"no folder")
    found = weights_of(parent)
    assert (found.classes, found.source, found.sha256) == (CLASSES, "package made-up", digest)
    with pytest.raises(StorageError):
        import_weights(tmp_path / "a.pth", parent)


def test_missing_weights_come_with_the_next_step() -> None:
    parent = replace(find_parent(LITE), package=Package("made-up", "no/such.pth", "0" * 64))
    with pytest.raises(InputError, match="not on this machine") as caught:
        weights_of(parent)
    assert caught.value.hint == "pip install 'hwnas[pretrained]'"
    with pytest.raises(InputError) as caught:
        weights_of(find_parent("efficientnet-lite4"))
    assert "hwnas parents import efficientnet-lite4 ~/.cache/huggingface/hub/models--timm--tf_" in caught.value.hint
    with pytest.raises(InputError) as caught:
        weights_of(parent, 0.5)
    assert "hwnas parents import efficientnet-lite0 *.pth --width 0.5" in caught.value.hint
    with pytest.raises(InputError, match="no parent named"):
        find_parent("resnet")


def test_every_parent_names_each_tensor_of_its_network_once_in_every_naming() -> None:
    for parent in PARENTS.values():
        network = parent.network()
        shapes = parent.shapes(network)
        for naming in parent.namings:
            names = naming.names(network, shapes)
            assert names.keys() == shapes.keys() - set(naming.zeros)
            assert len(set(names.values())) == len(names)


def test_a_linear_layer_is_a_convolution_of_one_pixel(tmp_path: Path) -> None:
    made, parent = made_up("mobilenet-v3-small"), find_parent("mobilenet-v3-small")
    state, name = checkpoint(made, parent.namings[0]), "classifier.0.weight"
    flat = state | {name: state[name].flatten(1)}
    torch.save(flat, tmp_path / "a.pth")
    found = import_weights(tmp_path / "a.pth", parent, WIDTH).tensors["hidden.hidden.weight"]
    assert torch.equal(found, made.tensors["hidden.hidden.weight"])
    torch.save(flat | {name: flat[name][:, :-1].clone()}, tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"hidden\.hidden\.weight must have the shape"):
        import_weights(tmp_path / "b.pth", parent, WIDTH)


def test_names_of_once_for_all_are_those_of_its_modules() -> None:
    """Of a block that is always the same, of one that is cut and has squeeze-excite, and of what is around them."""
    parent = find_parent("ofa-mobilenet-v3")
    network = parent.network()
    names = {*parent.namings[0].names(network, parent.shapes(network)).values()}
    assert len({name.split(".")[1] for name in names if name.startswith("blocks.")}) == 21
    norm = ("weight", "bias", "running_mean", "running_var")

    def of_block(index: int) -> set[str]:
        prefix = f"blocks.{index}.mobile_inverted_conv."
        return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}

    parts = ("depth_conv", "point_linear")
    expected = {f"{part}.conv.weight" for part in parts} | {f"{part}.bn.{one}" for part in parts for one in norm}
    assert of_block(0) == expected
    parts = ("inverted_bottleneck", *parts)
    expected = {f"{part}.conv.conv.weight" for part in parts}
    expected |= {f"{part}.bn.bn.{one}" for part in parts for one in norm}
    expected |= {f"depth_conv.se.fc.{part}.{one}" for part in ("reduce", "expand") for one in ("weight", "bias")}
    assert of_block(5) == expected | {"depth_conv.conv.7to5_matrix", "depth_conv.conv.5to3_matrix"}
    around = {f"{op}.conv.weight" for op in ("first_conv", "final_expand_layer", "feature_mix_layer")}
    around |= {f"{op}.bn.{one}" for op in ("first_conv", "final_expand_layer") for one in norm}
    around |= {"classifier.linear.weight", "classifier.linear.bias"}
    assert {name for name in names if not name.startswith("blocks.")} == around


def test_a_supernets_checkpoint_brings_its_transforms(tmp_path: Path) -> None:
    made, parent = made_up("ofa-mobilenet-v3"), find_parent("ofa-mobilenet-v3")
    state = checkpoint(made, parent.namings[0])
    matrix = "blocks.1.mobile_inverted_conv.depth_conv.conv.7to5_matrix"
    assert state[matrix].shape == (25, 25)
    torch.save(state, tmp_path / "a.pth")
    import_weights(tmp_path / "a.pth", parent, WIDTH)
    assert torch.equal(weights_of(parent, WIDTH).tensors["s1b0.depthwise.7to5"], state[matrix])
    del state[matrix]
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(InputError, match=re.escape(f"lacks {matrix!r}")):
        import_weights(tmp_path / "b.pth", parent, WIDTH)
