"""The grouped block of FBNet against the authors' own recipe in plain torch: group, shuffle, depthwise, group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwnas.arch import Network, OpSpec
from hwnas.backends.torch import network_module


class Published(nn.Module):
    """Figure 3 of Wu et al. (2019) with torch's own channel shuffle."""

    def __init__(self, spec: OpSpec) -> None:
        super().__init__()
        inner, g = spec.cin * spec.expand, spec.groups
        self.expand = nn.Conv2d(spec.cin, inner, 1, groups=g, bias=False)
        self.expand_norm = nn.BatchNorm2d(inner)
        self.shuffle = nn.ChannelShuffle(g)
        self.depthwise = nn.Conv2d(inner, inner, spec.kernel, spec.stride, spec.kernel // 2, groups=inner, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(inner)
        self.project = nn.Conv2d(inner, spec.cout, 1, groups=g, bias=False)
        self.project_norm = nn.BatchNorm2d(spec.cout)
        self.residual = spec.stride == 1 and spec.cin == spec.cout

    def forward(self, x: Tensor) -> Tensor:
        y = self.shuffle(torch.relu(self.expand_norm(self.expand(x))))
        y = torch.relu(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.residual else y


def orders(inner: int, g: int) -> tuple[Tensor, list[Tensor]]:
    """Where channels go.

    Returns:
        For each shuffled channel of the publication, which of ours it is; and for each of our grouped convolutions,
        which of the published expansion's channels it computes.
    """
    part = inner // g**2  # channels that a group gives to a group
    ours = torch.arange(inner).reshape(g, g, part)  # [to, from, number]
    published = torch.arange(inner).reshape(g, g, part)  # [from, to, number]: what the shuffle takes in
    to_ours = ours.transpose(1, 2).reshape(-1)  # a shuffled channel is [to, number, from]
    return to_ours, [published[:, to].reshape(-1) for to in range(g)]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("cout", "stride", "kernel", "expand"), [(16, 1, 3, 1), (16, 1, 5, 3), (24, 2, 3, 2), (24, 1, 5, 1)]
)
def test_concatenated_groups_are_shuffled_groups(groups: int, cout: int, stride: int, kernel: int, expand: int) -> None:
    torch.manual_seed(groups + cout + kernel)
    spec = OpSpec("irf", 16, cout, 9, 9, kernel, stride, expand, groups)
    theirs, ours = Published(spec).eval(), network_module(Network.single(spec)).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean)
    inner = spec.cin * spec.expand
    state = theirs.state_dict()
    to_ours, computed = orders(inner, groups)
    from_ours = torch.argsort(to_ours)  # for each of our channels, which shuffled one it is
    weights: dict[str, Tensor] = {}

    def put(name: str, source: str, order: Tensor) -> None:
        weights[f"op.{name}.weight"] = state[f"{source}.weight"][order]
        for key in ("weight", "bias", "running_mean", "running_var"):
            weights[f"op.{name}.norm.{key}"] = state[f"{source}_norm.{key}"][order]

    for group, order in enumerate(computed):
        put(f"expand{group}" if groups > 1 else "expand", "expand", order)
    put("depthwise", "depthwise", from_ours)
    put("project", "project", torch.arange(cout))
    within = (from_ours.reshape(groups, -1) - torch.arange(groups)[:, None] * (inner // groups)).long()
    rows = cout // groups
    project = state["project.weight"]
    weights["op.project.weight"] = torch.cat(
        [project[group * rows : (group + 1) * rows][:, within[group]] for group in range(groups)]
    )
    assert ours.state_dict().keys() - weights.keys() <= {
        key for key in ours.state_dict() if key.endswith("num_batches_tracked")
    }
    ours.load_state_dict(weights, strict=False)
    x = torch.randn(2, 16, 9, 9)
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
