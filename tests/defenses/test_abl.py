"""ABL's isolation, the order of its stages and its ascent, against loops and hand-computed cases."""

import pytest
import torch
import torch.nn.functional as F

from defenselib import defenses
from defenselib.data.types import ImageSet
from defenselib.defenses.abl import ABL
from defenselib.defenses.scores import nesterov
from defenselib.errors import DefenseLibError
from defenselib.experiments.resolve import recipe
from defenselib.learning.context import Context
from defenselib.models import build_model

SMALL = dict(
    isolation_epochs=2, finetuning_epochs=2, unlearning_epochs=2, isolated_share=0.2, batch_size=16, milestones=(1,)
)


class Recorder:
    def __init__(self):
        self.events = []

    def __call__(self, event, **what):
        self.events.append((event, what))

    def state_dict(self):
        return {"events": len(self.events)}

    def load_state_dict(self, state): ...

    def of(self, event):
        return [what for kind, what in self.events if kind == event]


def images(n=60):
    pixels = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(n) % 3)


def context(recorder=None, **more):
    return Context(
        model_factory=lambda: build_model("resnet10", num_classes=3, image_size=16, width=8), observer=recorder, **more
    )


def test_defaults_are_those_of_the_authors_and_two_papers_train_longer():
    abl = defenses.create("abl")
    assert (abl.isolation_epochs, abl.finetuning_epochs, abl.unlearning_epochs) == (10, 60, 5)
    assert (abl.gamma, abl.isolated_share, abl.batch_size, abl.weight_decay) == (0.5, 0.01, 128, 1e-4)
    assert (abl.isolation_learning_rate, abl.learning_rate, abl.milestones) == (0.1, 0.1, (40,))
    assert (abl.unlearning_learning_rate, abl.cutout) == (5e-4, 3)
    for paper in ("asd", "bsd"):
        assert recipe("abl", "gtsrb", paper) == {"isolation_epochs": 20, "finetuning_epochs": 70}
    assert recipe("abl", "cifar10", "dst_dbr") == {}


def test_isolates_the_share_of_least_plain_cross_entropy():
    train, recorder = images(), Recorder()
    tool = context(recorder)
    model = tool.build_model()
    isolated, others, losses = ABL(**SMALL).isolate(model, train, tool)
    with torch.no_grad():
        logits = model.eval()(train.images / 255)
    torch.testing.assert_close(losses, F.cross_entropy(logits, train.labels, reduction="none"), rtol=1e-4, atol=1e-5)
    ranked = sorted(range(60), key=lambda i: losses[i].item())
    assert isolated.tolist() == sorted(ranked[:12]) and others.tolist() == sorted(ranked[12:])
    (split,), (found,) = recorder.of("split"), recorder.of("scores")
    assert torch.equal(split["clean"], others) and torch.equal(found["values"], losses)
    # A share of a tiny set isolates one sample, not none.
    assert len(ABL(**SMALL | {"isolated_share": 0.001}).isolate(model, train, tool)[0]) == 1


def test_stages_follow_one_another_and_report_every_epoch():
    recorder = Recorder()
    tool = context(recorder)
    fitted = ABL(**SMALL).fit(images(), tool.build_model, tool)
    rows = [(what["stage"], what["epoch"]) for what in recorder.of("epoch")]
    assert rows == [(stage, epoch) for stage in ("isolate", "finetune", "unlearn") for epoch in (0, 1)]
    assert [kind for kind, _ in recorder.events[2:4]] == ["scores", "split"]
    assert len(fitted.suspects) == fitted.metrics["isolated"] == 12
    assert fitted.metrics["isolation_threshold"] == pytest.approx(
        recorder.of("scores")[0]["values"][fitted.suspects].max().item()
    )


def test_unlearning_is_gradient_ascent_at_its_own_rate():
    tool, train = context(), images(16)
    abl = ABL(**SMALL | {"unlearning_epochs": 1, "momentum": 0.5, "weight_decay": 0.0})
    model, twin = tool.build_model(), tool.build_model()
    abl.unlearn(model, nesterov(model, 7.0, 0.5, 0.0), train, tool)
    loss = F.cross_entropy(twin.train()(train.images / 255), train.labels)
    slopes = torch.autograd.grad(loss, list(twin.parameters()))
    # One batch: the first step of Nesterov momentum m is (1 + m) * rate * gradient, here upwards.
    for new, old, slope in zip(model.parameters(), twin.parameters(), slopes, strict=True):
        torch.testing.assert_close(new, old + 1.5 * 5e-4 * slope, rtol=1e-4, atol=1e-6)


def test_unlearning_raises_the_loss_of_the_isolated():
    recorder = Recorder()
    tool = context(recorder)
    abl = ABL(**SMALL | {"unlearning_epochs": 8, "unlearning_learning_rate": 0.01})
    abl.fit(images(), tool.build_model, tool)
    losses = [what["loss"] for what in recorder.of("epoch") if what["stage"] == "unlearn"]
    assert losses[0] > 0 and losses[-1] > losses[0] + 0.5


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = context()
    wanted = ABL(**SMALL).fit(images(), whole.build_model, whole)
    for stop in ("isolate:1", "finetune:1", "unlearn:1"):
        cut = context(checkpoints=tmp_path / stop.replace(":", "-"), stop_after=stop)
        with pytest.raises(Exception, match="stopped"):
            ABL(**SMALL).fit(images(), cut.build_model, cut)
        rest = context(checkpoints=tmp_path / stop.replace(":", "-"))
        found = ABL(**SMALL).fit(images(), rest.build_model, rest)
        assert torch.equal(found.suspects, wanted.suspects)
        for name, value in found.model.state_dict().items():
            assert torch.equal(value, wanted.model.state_dict()[name]), (stop, name)


@pytest.mark.parametrize(
    "hyper",
    [
        {"isolated_share": 1.0}, {"gamma": -0.1}, {"isolation_epochs": 0}, {"unlearning_learning_rate": 0.0},
        {"momentum": 0.0}, {"cutout": -1}, {"schedule": "cosin"}, {"isolation_epoch": 3},
    ],
)  # fmt: skip
def test_bad_hyper_parameters_are_errors_before_any_work(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create("abl", **hyper)
