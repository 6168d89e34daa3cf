"""Trainings that watch the UNet paint: walks, other words for the same, lines that are kept to."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("cv2")

from studio.preprocessors import canny  # noqa: E402
from studio.training import (  # noqa: E402
    autoencoder,
    compose,
    control,
    heldout,
    listening,
    maps,
    samples,
    text,
    tracing,
    unet,
    walks,
    wordings,
)
from tests.training import toys  # noqa: E402
from tests.training.test_control import tiny_unet  # noqa: E402

# Walks


def test_a_walk_takes_the_studios_steps() -> None:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(**unet.SCHEDULE)
    scheduler.set_timesteps(samples.STEPS)
    assert list(walks.TIMES) == scheduler.timesteps.tolist()


def test_a_walk_with_the_true_velocity_ends_at_the_truth() -> None:
    torch.manual_seed(0)
    truth, noisy, alphas = torch.randn(2, 4, 16, 16), walks.noise(2), unet.signal()
    start = alphas[walks.TIMES[0]]
    noisy = start.sqrt() * truth + (1 - start).sqrt() * noisy
    for step, time in enumerate(walks.TIMES):
        signal = alphas[time]
        noise = (noisy - signal.sqrt() * truth) / (1 - signal).sqrt()
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * truth
        torch.testing.assert_close(walks.clean(noisy, velocity, signal), truth, atol=1e-3, rtol=0)
        noisy = walks.onward(noisy, velocity, alphas, step)
    torch.testing.assert_close(noisy, truth, atol=1e-3, rtol=0)


# Other words for the same


def test_both_texts_of_a_pair_ask_for_the_same() -> None:
    library, rng = toys.words(), np.random.default_rng(0)
    can_be_caption = heldout.caption_grammar(library)
    asked = {w.prompt.lower() for w in heldout.prompts(library)}
    pairs = [wordings.draw(rng, library, {"apple": ("pomme",)}) for _ in range(2000)]
    assert [p.caption for p in pairs if not can_be_caption(p.caption)] == []
    assert not asked & {p.prompt.lower().rstrip(".!") for p in pairs}
    assert sum(p.caption != p.prompt for p in pairs) > 1800
    assert any("pomme" in p.prompt and "apple" in p.caption for p in pairs)
    for colour in ("purple", "pink"):
        painted = [p for p in pairs if f"{colour} " in p.caption and " on a" not in p.caption]
        assert painted
        assert all(colour in p.prompt for p in painted)


@pytest.mark.parametrize("relation", ["left", "above"])
def test_the_first_of_two_is_where_the_caption_says(relation: str) -> None:
    """Words that stand for a side belong to the thing that is there."""
    mine, theirs = {"left": ("left", "right"), "above": ("above", "below")}[relation]
    first, second = "one", "two"
    for form in wordings.BESIDE[relation]:
        said = form.format(first, second)
        other = form.format(second, first)
        assert said != other, form
        # "ONE <my side> ... TWO" or "TWO <their side> ... ONE", where a form uses one of the words.
        words = said.replace(",", "").replace(":", "").split()
        if f"{mine} of" in said and "it" not in words:
            assert words.index(first) < words.index(mine) < words.index(second), form
        if f"{theirs} of" in said and "it" not in words:
            assert words.index(second) < words.index(theirs) < words.index(first), form


def test_a_way_to_ask_that_is_learnt_is_no_way_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordings, "FRAMES", (*wordings.FRAMES, "show me {}"))
    with pytest.raises(ValueError, match=r"show me \{\}"):
        heldout.prompts(toys.words())


def a_tokenizer(tmp_path: Any) -> Any:
    text.build_tokenizer(["a red apple", "an apple that is red"], ["apple", "red"], tmp_path)
    return text.tokenizer_of(tmp_path)


def test_what_is_heard_as_before_costs_nothing(tmp_path: Any) -> None:
    tokenizer, net = a_tokenizer(tmp_path), tiny_unet()
    torch.manual_seed(0)
    taught = text.create(tokenizer).eval()
    pairs = [wordings.Pair(caption=c, prompt=c) for c in ("", "a red apple")]
    stream = listening.lessons(net, taught, tokenizer, iter([pairs]), unet.signal())
    heard = listening.encoded([p.prompt for p in pairs], tokenizer, taught)
    same, other = torch.tensor([True, True]), heard.flip(0)
    seen = list(stream)
    assert [lesson.time for lesson in seen] == list(walks.TIMES[: listening.WATCHED])
    for lesson in seen:
        assert listening.loss_of(net, heard, lesson, same).item() < 1e-3
        assert listening.loss_of(net, other, lesson, same).item() > 1


def test_listening_changes_the_encoder_and_not_the_unet(tmp_path: Any) -> None:
    tokenizer, net = a_tokenizer(tmp_path), tiny_unet()
    torch.manual_seed(0)
    taught, encoder = text.create(tokenizer).eval(), text.create(tokenizer)
    pairs = [wordings.Pair(caption="", prompt=""), wordings.Pair(caption="a red apple", prompt="an apple that is red")]  # fmt: skip
    lesson = next(listening.lessons(net, taught, tokenizer, iter([pairs]), unet.signal()))
    heard = listening.encoded([p.prompt for p in pairs], tokenizer, encoder)
    listening.loss_of(net, heard, lesson, torch.tensor([True, False])).backward()
    assert all(p.grad is None for p in (*net.parameters(), *taught.parameters()))
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())


# Lines that are kept to


def test_soft_edges_are_cannys() -> None:
    made = compose.draw(3, 4, toys.library(), people=0.0).pixels
    threshold = 150
    found = tracing.soft_edges(autoencoder.to_tensor(made), torch.full((4,), float(threshold)))
    wanted = np.stack(
        [maps.edges(p, canny.Canny(low=threshold, high=threshold + 1))[..., 0] for p in made]
    )
    wanted = torch.from_numpy(wanted > 0).float()
    assert found.min() >= 0
    assert found.max() <= 1
    # Canny goes on with lines that are only just as steep; a soft edge is half sure of these.
    assert tracing.missed((found > 0.5).float(), wanted).item() < 0.15
    assert tracing.missed(wanted, wanted).item() < 1e-3
    assert tracing.missed(found.roll(9, 2), wanted).item() > 0.5


def test_a_walk_under_control_teaches_the_controlnet_alone() -> None:
    net, vae = tiny_unet(), autoencoder.create().requires_grad_(False)
    steerer = control.create(net).train()
    made = compose.draw(3, 1, toys.library(), people=0.0).pixels
    hint = autoencoder.to_unit(np.stack([maps.edges(p) for p in made]))
    batch = tracing.Batch(
        context=torch.randn(1, 77, text.WIDTH), hint=hint, threshold=torch.tensor([150.0])
    )
    empty, alphas, seen = torch.randn(77, text.WIDTH), unet.signal(), 0
    for loss in tracing.losses(net, steerer, vae, 1.0, batch, empty, alphas):
        assert 0 <= loss.item() <= 1
        loss.backward()
        seen += 1
    assert seen == len(walks.TIMES) - tracing.UNWATCHED
    assert all(p.grad is None for p in (*net.parameters(), *vae.parameters()))
    assert any(p.grad is not None and p.grad.any() for p in steerer.parameters())
