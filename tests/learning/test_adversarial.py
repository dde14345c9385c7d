import torch

from defenselib.learning.adversarial import ifgsm, pgd


def setup():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    return model, torch.rand(30, 3, 4, 4, generator=generator), torch.arange(30) % 5


def loss_of(model, images, labels):
    return torch.nn.functional.cross_entropy(model(images), labels, reduction="none")


def test_pgd_stays_in_the_ball_and_raises_the_loss():
    model, images, labels = setup()
    for generator in (None, torch.Generator().manual_seed(1)):
        out = pgd(model, images, labels, 8 / 255, 2 / 255, 10, generator)
        assert (out - images).abs().max() <= 8 / 255 + 1e-6
        assert out.min() >= 0 and out.max() <= 1
        assert (loss_of(model, out, labels) > loss_of(model, images, labels)).all()
    lowered = pgd(model, images, labels, 8 / 255, 2 / 255, 10, targeted=True)
    assert (loss_of(model, lowered, labels) < loss_of(model, images, labels)).all()


def test_ifgsm_equals_a_naive_loop_on_a_linear_model():
    model, images, labels = setup()
    weight, bias = model[1].weight.detach(), model[1].bias.detach()
    eps, step, steps = 4 / 255, 1 / 255, 6
    expected = []
    for x, y in zip(images, labels, strict=True):
        current = x.flatten().clone()
        for _ in range(steps):
            p = (weight @ current + bias).softmax(0)
            p[y] -= 1
            current = current + step * torch.sign(weight.T @ p)
            current = torch.minimum(torch.maximum(current, x.flatten() - eps), x.flatten() + eps).clamp(0, 1)
        expected.append(current.view_as(x))
    torch.testing.assert_close(ifgsm(model, images, labels, eps, step, steps), torch.stack(expected))


def test_no_gradient_is_left_behind_and_the_input_is_untouched():
    model, images, labels = setup()
    before = images.clone()
    pgd(model, images, labels, 0.1, 0.01, 3)
    assert torch.equal(images, before)
    assert all(p.grad is None for p in model.parameters())
