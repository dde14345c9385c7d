"""ASD's split, schedule and virtual model against the paper's numbers and hand-computed cases."""

import copy

import pytest
import torch

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.asd import ASD, LEARNERS
from defenselib.defenses.asd_transfer import joined, linear_epoch
from defenselib.defenses.settings import lowest
from defenselib.errors import DefenseLibError
from defenselib.experiments.cell import with_oracle
from defenselib.learning.context import Context, Stopped
from defenselib.learning.remixmatch import ReMixMatch
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import make_optimizer
from defenselib.learning.uda import UDA
from defenselib.models import build_model


class Recorder:
    def __init__(self):
        self.events = []

    def __call__(self, event, **what):
        self.events.append((event, what))

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...

    def of(self, event, name=None):
        return [w for e, w in self.events if e == event and name in (None, w.get("name"))]


def images(n=60, classes=3, size=8):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(n) % classes)


def context(recorder=None, seeds=None, **more):
    return Context(
        model_factory=lambda: build_model("resnet10", num_classes=3, image_size=8, width=8),
        observer=recorder,
        clean_index=seeds,
        **more,
    )


SMALL = dict(
    seeds_per_class=2, growth_per_class=1, growth_every=1, stage1_end=2, stage2_end=3, epochs=5, rampup=5,
    iterations=2, batch_size=4, virtual_batch_size=20, padding=1,
)  # fmt: skip


def test_defaults_are_the_papers():
    asd = defenses.create("asd")
    assert (asd.stage1_end, asd.stage2_end, asd.epochs) == (60, 90, 120)
    assert (asd.seeds_per_class, asd.growth_per_class, asd.growth_every) == (10, 10, 5)
    assert (asd.alpha, asd.gamma, asd.iterations, asd.batch_size, asd.learning_rate) == (0.5, 0.5, 1024, 64, 0.002)
    assert (asd.virtual_learning_rate, asd.virtual_batch_size, asd.virtual_layers) == (0.015, 128, 3)


@pytest.mark.parametrize(("epoch", "size"), [(0, 100), (4, 100), (5, 200), (54, 1100), (55, 1200), (59, 1200)])
def test_class_aware_pool_grows_as_in_the_paper(epoch, size):
    labels = torch.arange(5000) % 10
    seeds = torch.arange(100)
    pool = ASD().class_aware(torch.rand(5000), labels, seeds, epoch)
    assert len(pool) == size == len(set(pool.tolist()))
    assert set(seeds.tolist()) <= set(pool.tolist())
    assert torch.bincount(labels[pool]).tolist() == [size // 10] * 10


def test_class_aware_takes_the_least_loss_of_each_label_beside_the_seeds():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    loss = torch.tensor([0.1, 0.9, 0.3, 0.2, 5.0, 7.0, 6.0, 4.0])
    asd = ASD(growth_per_class=2, growth_every=1)
    pool = asd.class_aware(loss, labels, seeds=torch.tensor([0, 7]), epoch=1)
    assert pool.tolist() == [0, 2, 3, 4, 6, 7]
    # A class that runs out gives what it has.
    assert asd.class_aware(loss, labels, torch.tensor([0, 7]), epoch=9).tolist() == list(range(8))


def test_lowest_share_is_exact_and_ties_go_by_index():
    assert lowest(torch.tensor([3.0, 1, 2, 1, 1]), 0.5).tolist() == [1, 3]
    assert len(lowest(torch.rand(50_000), 0.5)) == 25_000


def test_virtual_model_trains_the_last_three_layers_of_a_copy():
    ctx, train = context(), images()
    model = ctx.build_model()
    before = copy.deepcopy(model.state_dict())
    virtual = ASD(**SMALL).virtual_model(Trainee(model, None, train, ctx, Augment(1)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    after = virtual.state_dict()
    frozen = [n for n, _ in model.named_parameters() if n.startswith(("stem", "stages.0", "stages.1"))]
    learnt = [n for n, _ in model.named_parameters() if n.startswith(("stages.2", "stages.3", "head"))]
    assert frozen and all(torch.equal(after[n], before[n]) for n in frozen)
    assert learnt and all(not torch.equal(after[n], before[n]) for n in learnt)
    # BatchNorm statistics of the frozen layers drift: the virtual epoch runs in train mode (sheet, section 5).
    assert not torch.equal(after["stem.1.running_mean"], before["stem.1.running_mean"])


def test_pools_partition_the_data_in_every_epoch_and_follow_the_stages():
    recorder, train = Recorder(), images()
    seeds = torch.arange(6)
    fitted = ASD(**SMALL).fit(train, (ctx := context(recorder, seeds)).build_model, ctx)
    pools = [what["clean"] for what in recorder.of("split")]
    assert [len(pool) for pool in pools] == [6, 9, 30, 30, 30]
    for pool in pools[:2]:
        assert set(seeds.tolist()) <= set(pool.tolist())
    everything = sorted([*pools[-1].tolist(), *fitted.suspects.tolist()])
    assert everything == list(range(60))
    assert [w["epoch"] for w in recorder.of("scores", "virtual_loss")] == [3, 4]
    (loss,) = (w["values"] for w in recorder.of("scores", "loss") if w["epoch"] == 3)
    (virtual,) = (w["values"] for w in recorder.of("scores", "virtual_loss") if w["epoch"] == 3)
    assert torch.equal(pools[3], lowest(loss - virtual, 0.5))
    assert [w["lambda_u"] for w in recorder.of("epoch")] == pytest.approx([1.5, 4.5, 7.5, 10.5, 13.5])


@pytest.mark.slow
def test_same_seed_same_model_and_watching_changes_nothing():
    def weights(recorder, seed=0):
        ctx = context(recorder, torch.arange(6), seed=seed)
        return ASD(**SMALL).fit(images(), ctx.build_model, ctx).model.state_dict()

    one, two, other = weights(Recorder()), weights(None), weights(None, seed=1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_oracle_ranks_poison_last_and_keeps_the_pool_sizes():
    poisoned = torch.zeros(60, dtype=torch.bool)
    poisoned[30:50] = True
    recorder = Recorder()
    ctx = context(recorder, torch.arange(6))
    with_oracle(ASD(**SMALL), poisoned).fit(images(), ctx.build_model, ctx)
    pools = [what["clean"] for what in recorder.of("split")]
    assert [len(pool) for pool in pools] == [6, 9, 30, 30, 30]
    assert not any(poisoned[pool].any() for pool in pools)


def test_the_learner_is_the_authors_with_asds_batches():
    ctx = context()
    model = ctx.build_model()
    uda, remixmatch = (ASD(**SMALL, ssl=name).learner(model, ctx) for name in ("uda", "remixmatch"))
    assert uda == UDA(iterations=2, batch_size=4)
    assert isinstance(remixmatch, ReMixMatch) and remixmatch.rotation.in_features == model.head.in_features
    assert (remixmatch.iterations, remixmatch.batch_size, remixmatch.views) == (2, 4, 8)


@pytest.mark.parametrize("ssl", LEARNERS[1:])
def test_other_learners_keep_the_pools_and_report_their_losses(ssl):
    recorder, seeds = Recorder(), torch.arange(6)
    ctx = context(recorder, seeds)
    ASD(**SMALL, ssl=ssl).fit(images(), ctx.build_model, ctx)
    assert [len(what["clean"]) for what in recorder.of("split")] == [6, 9, 30, 30, 30]
    assert "loss_rotation" in recorder.of("epoch")[0] if ssl == "remixmatch" else "confident" in recorder.of("epoch")[0]


def test_without_seeds_the_least_losses_stand_for_them():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    loss = torch.tensor([0.1, 0.9, 0.3, 0.2, 5.0, 7.0, 6.0, 4.0])
    asd = ASD(seeds_per_class=1, growth_per_class=1, growth_every=2)
    none = torch.empty(0, dtype=torch.int64)
    assert asd.class_aware(loss, labels, none, epoch=1).tolist() == [0, 7]
    assert asd.class_aware(loss, labels, none, epoch=2).tolist() == [0, 3, 4, 7]


def test_transfer_learns_the_given_samples_with_labels_and_all_others_without():
    train, given = images(), images(n=6)
    both, labelled, unlabelled = joined(train, given)
    assert torch.equal(both.images[labelled], given.images) and torch.equal(both.labels[labelled], given.labels)
    assert torch.equal(both.images[unlabelled], train.images)
    with pytest.raises(DefenseLibError, match="must be of the training set's"):
        joined(train, images(n=6, size=16))
    with pytest.raises(DefenseLibError, match="seed_source"):
        joined(train, None)


def test_the_linear_epoch_moves_the_head_and_nothing_else():
    ctx = context()
    model = ctx.build_model()
    before = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(list(model.head.parameters()), "adam", 0.01)
    linear_epoch(Trainee(model, optimizer, images(), ctx, Augment(1)), 20)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.slow
def test_a_killed_transferred_run_goes_on_where_it_was(tmp_path):
    given = images(n=6)

    def weights(folder, stop=None):
        ctx = context(clean=given, checkpoints=tmp_path / folder, checkpoint_every=0.0, stop_after=stop)
        asd = ASD(**SMALL, ssl="remixmatch", seed_source="shapes", transfer_epochs=2)
        return asd.fit(images(), ctx.build_model, ctx).model.state_dict()

    whole = weights("whole")
    for stop in ("transfer:1", "linear", "asd:3"):
        with pytest.raises(Stopped):
            weights("parts", stop)
    parts = weights("parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_seeds_come_from_where_they_are_asked():
    request = ASD(seed_source="cifar100", seeds_per_class=3).clean_request()
    assert (request.source, request.per_class, request.poisoned) == ("cifar100", 3, 0)
    assert ASD(poisoned_seeds=2).clean_request().poisoned == 2
    with pytest.raises(DefenseLibError, match="poisoned_seeds"):
        ASD(seed_source="cifar100", poisoned_seeds=1)


@pytest.mark.parametrize(
    "hyper",
    [{"stage1_end": 100}, {"alpha": 1.5}, {"iterations": 0}, {"gama": 0.5}, {"padding": -1}, {"ssl": "mixmach"}],
)
def test_bad_hyper_parameters_are_errors_before_any_work(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create("asd", **hyper)
