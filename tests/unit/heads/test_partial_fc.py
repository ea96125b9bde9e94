import pytest
import torch
import torch.nn.functional as F

from aroface.errors import InputError
from aroface.heads import chunked_logits
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import HEADS, build


def _classifier(seed=0, name="cosface", classes=50, rate=1.0, **options):
    return Classifier(classes, 8, build(name, **options), seed=seed, sample_rate=rate)


def _batch():
    return torch.randn(6, 8), torch.tensor([0, 3, 7, 9, 49, 7])


def test_weights_come_from_the_seed_alone_with_sd_a_hundredth():
    torch.manual_seed(1)
    first = _classifier(seed=3, classes=5000).weight
    torch.manual_seed(2)
    assert torch.equal(first, _classifier(seed=3, classes=5000).weight)
    assert not torch.equal(first, _classifier(seed=4, classes=5000).weight)
    assert torch.equal(first[:700], _classifier(seed=3, classes=700).weight)
    assert len(first.detach().unique(dim=0)) == 5000
    assert float(first.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_the_loss_is_the_cross_entropy_of_margined_cosines():
    classifier = _classifier(s=16.0, m=0.2)
    embeddings, labels = _batch()
    cosines = torch.stack([F.cosine_similarity(row, classifier.weight, dim=1) for row in embeddings])
    logits = 16 * (cosines - 0.2 * F.one_hot(labels, 50))
    torch.testing.assert_close(classifier(embeddings, labels), F.cross_entropy(logits, labels))


def test_lengths_of_features_and_weights_do_not_matter():
    classifier = _classifier()
    embeddings, labels = _batch()
    before = classifier(embeddings, labels)
    with torch.no_grad():
        classifier.weight.mul_(7)
    torch.testing.assert_close(classifier(3 * embeddings, labels), before)


def test_the_callers_autocast_reaches_neither_loss_nor_gradients():
    classifier = _classifier()
    embeddings, labels = _batch()
    expected = classifier(embeddings, labels)
    (gradient,) = torch.autograd.grad(expected, classifier.weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = classifier(embeddings, labels)
        (again,) = torch.autograd.grad(loss, classifier.weight)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert torch.equal(again, gradient)
    assert classifier(embeddings.bfloat16(), labels).dtype == torch.float32


@pytest.mark.parametrize("name", HEADS)
def test_chunks_change_nothing(name, monkeypatch):
    embeddings, labels = _batch()
    found = []
    for size in (1, 7, 50, 8192):
        monkeypatch.setattr(chunked_logits, "CLASSES_AT_ONCE", size)
        classifier, leaf = _classifier(name=name), embeddings.clone().requires_grad_()
        loss = classifier(leaf, labels, generator=torch.Generator().manual_seed(0))
        loss.backward()
        found.append((loss.detach(), leaf.grad, classifier.weight.grad))
    for values in zip(*found, strict=True):
        for other in values[1:]:
            torch.testing.assert_close(other, values[0], rtol=1e-4, atol=1e-5 * float(values[0].abs().max()))


def test_never_are_all_logits_in_memory(monkeypatch):
    sizes = []
    monkeypatch.setattr(chunked_logits, "CLASSES_AT_ONCE", 64)
    classifier = _classifier(classes=1000)
    others = classifier.head.others

    def spy(cosines, terms):
        sizes.append((*cosines.shape,))
        return others(cosines, terms)

    classifier.head.others = spy
    classifier(*_batch()).backward()
    assert len(sizes) == 2 * -(-1000 // 64)
    assert max(sizes) == (6, 64)


def test_no_gradient_towards_the_weights_is_made_where_none_is_asked_for():
    classifier = _classifier()
    embeddings, labels = _batch()
    leaf = embeddings.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier(leaf, labels), leaf)
    loss = classifier(leaf, labels, weight_gradient=False)
    (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    assert torch.equal(gradient, expected)
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(loss, classifier.weight)


def test_gradients_of_micro_steps_add_up():
    for rate in (1.0, 0.5):
        classifier = _classifier(rate=rate)
        embeddings, labels = _batch()
        classifier.choose(labels, torch.Generator().manual_seed(0))
        classifier(embeddings, labels).backward()
        whole = classifier.weight.grad.to_dense().clone()
        classifier.zero_grad()
        for part in (slice(0, 3), slice(3, 6)):
            (classifier(embeddings[part], labels[part]) / 2).backward()
        difference = classifier.weight.grad.to_dense() - whole
        assert float(difference.abs().max()) < 1e-5 * float(whole.abs().max())


def test_two_passes_before_one_gradient_do_not_disturb_each_other():
    classifier = _classifier(name="curricularface", alpha=0.5)
    embeddings, labels = _batch()
    loss = classifier(embeddings, labels)
    (expected,) = torch.autograd.grad(loss, classifier.weight, retain_graph=True)
    classifier(-embeddings, labels)  # moves t
    (gradient,) = torch.autograd.grad(loss, classifier.weight)
    assert torch.equal(gradient, expected)


def test_adaface_sees_the_features_lengths():
    classifier = _classifier(name="adaface", alpha=1.0)
    embeddings = torch.randn(6, 8)
    classifier(embeddings, torch.arange(6))
    assert float(classifier.head.norm_mean) == pytest.approx(float(embeddings.norm(dim=1).mean()))


def test_a_pass_without_update_leaves_no_trace_in_the_state():
    classifier = _classifier(name="adaface")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier(torch.randn(6, 8), torch.arange(6), update_statistics=False)
    assert set(before) == {"weight", "head.norm_mean", "head.norm_std"}
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_two_classes_are_enough_and_a_sample_may_have_no_other_class_that_takes_part():
    classifier = _classifier(classes=2, rate=0.5)
    embeddings = torch.randn(3, 8, requires_grad=True)
    classifier.choose(torch.zeros(3, dtype=torch.int64))
    loss = classifier(embeddings, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert embeddings.grad.eq(0).all()
    assert classifier.weight.grad.to_dense().eq(0).all()


def test_the_draw_of_classes_comes_from_the_generator_alone():
    draws = []
    for seed in (5, 5, 6):
        classifier = _classifier(rate=0.3)
        torch.manual_seed(len(draws))
        classifier.choose(torch.tensor([40, 41]), torch.Generator().manual_seed(seed))
        draws.append(classifier._chosen.tolist())
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 15 and {40, 41} <= {*draws[0]}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"num_classes": 1}, "1 classes; expected at least 2"),
        ({"sample_rate": 0.0}, r"sample_rate is 0\.0; expected 0 < sample_rate <= 1"),
        ({"sample_rate": 1.5}, r"sample_rate is 1\.5; expected 0 < sample_rate <= 1"),
    ],
)
def test_a_classifier_that_cannot_be_is_one_line(arguments, line):
    with pytest.raises(InputError, match=line):
        Classifier(**{"num_classes": 9, "embedding_size": 4, "head": build("softmax"), "seed": 0} | arguments)


@pytest.mark.parametrize(("label", "record"), [(50, "label 50"), (-1, "label -1")])
def test_a_label_out_of_range_is_one_line(label, record):
    with pytest.raises(InputError, match=f"batch of rank 0: {record}; expected 0 to 49"):
        _classifier()(torch.randn(2, 8), torch.tensor([1, label]))


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="0 samples"):
        _classifier()(torch.randn(0, 8), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("labels", [torch.zeros(5, dtype=torch.int64), torch.zeros(6), torch.zeros(6, 1).long()])
def test_labels_of_another_kind_are_refused(labels):
    with pytest.raises(ValueError, match=r"expected int64 \(6,\)"):
        _classifier()(torch.randn(6, 8), labels)
