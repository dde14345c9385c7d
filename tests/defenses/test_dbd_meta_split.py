"""DBD with ASD's meta-split: DBD before, ASD's rule after."""

import pytest
import torch

from defenselib.defenses.dbd import DBD
from defenselib.defenses.dbd_meta_split import DBDMetaSplit
from defenselib.defenses.settings import lowest
from defenselib.errors import DefenseLibError

from .test_asd import Recorder, context, images

SMALL = dict(
    simclr_epochs=1, simclr_batch_size=20, linear_epochs=1, linear_batch_size=20, epochs=3, rampup=3, iterations=2,
    batch_size=4, padding=1,
)  # fmt: skip


def fit(defense):
    recorder = Recorder()
    ctx = context(recorder)
    return defense.fit(images(), ctx.build_model, ctx), recorder


def test_with_its_own_split_to_the_end_it_is_dbd():
    dbd, meta = (
        fit(DBD(**SMALL))[0].model.state_dict(),
        fit(DBDMetaSplit(**SMALL, split_epochs=3))[0].model.state_dict(),
    )
    assert all(torch.equal(dbd[name], meta[name]) for name in dbd)


def test_from_split_epochs_on_the_least_reduction_is_the_pool():
    fitted, recorder = fit(DBDMetaSplit(**SMALL, split_epochs=1, virtual_batch_size=20))
    _, usual = fit(DBD(**SMALL))
    pools = [what["clean"] for what in recorder.of("split")]
    assert [len(pool) for pool in pools] == [30, 30, 30]
    assert torch.equal(pools[0], usual.of("split")[0]["clean"])
    reductions = recorder.of("scores", "reduction")
    assert [what["epoch"] for what in reductions] == [1, 2]
    for what in reductions:
        assert torch.equal(pools[what["epoch"]], lowest(what["values"], 0.5))
    assert sorted([*pools[-1].tolist(), *fitted.suspects.tolist()]) == list(range(60))


def test_defaults_are_the_papers():
    meta, dbd = DBDMetaSplit(), DBD()
    assert (meta.split_epochs, meta.epochs, dbd.epochs, meta.rampup) == (10, 25, 190, dbd.rampup)
    assert meta.contrastive() == dbd.contrastive()
    with pytest.raises(DefenseLibError, match="split_epochs"):
        DBDMetaSplit(split_epochs=26)
