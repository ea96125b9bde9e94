import pytest
import torch
import torch.nn.functional as F

from aroface.heads.classifier import Classifier
from aroface.heads.registry import build


def _classifier(seed=0, name="cosface", classes=50, **options):
    return Classifier(classes, 8, build(name, **options), torch.Generator().manual_seed(seed))


def test_weights_come_from_the_generator_alone_with_sd_a_hundredth():
    torch.manual_seed(1)
    first = _classifier(seed=3, classes=5000).weight
    torch.manual_seed(2)
    assert torch.equal(first, _classifier(seed=3, classes=5000).weight)
    assert not torch.equal(first, _classifier(seed=4, classes=5000).weight)
    assert float(first.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_the_loss_is_the_cross_entropy_of_margined_cosines():
    classifier = _classifier(s=16.0, m=0.2)
    embeddings, labels = torch.randn(6, 8), torch.tensor([0, 3, 7, 9, 49, 7])
    cosines = torch.stack([F.cosine_similarity(row, classifier.weight, dim=1) for row in embeddings])
    logits = 16 * (cosines - 0.2 * F.one_hot(labels, 50))
    torch.testing.assert_close(classifier(embeddings, labels), F.cross_entropy(logits, labels))


def test_lengths_of_features_and_weights_do_not_matter():
    classifier = _classifier()
    embeddings, labels = torch.randn(6, 8), torch.arange(6)
    before = classifier(embeddings, labels)
    with torch.no_grad():
        classifier.weight.mul_(7)
    torch.testing.assert_close(classifier(3 * embeddings, labels), before)


def test_the_callers_autocast_does_not_reach_the_logits():
    classifier = _classifier()
    embeddings, labels = torch.randn(6, 8), torch.arange(6)
    expected = classifier.logits(embeddings, labels)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier.logits(embeddings, labels)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected)


def test_adaface_sees_the_features_lengths():
    classifier = _classifier(name="adaface", alpha=1.0)
    embeddings = torch.randn(6, 8)
    classifier(embeddings, torch.arange(6))
    assert float(classifier.margin.norm_mean) == pytest.approx(float(embeddings.norm(dim=1).mean()))


def test_a_pass_without_update_leaves_no_trace_in_the_state():
    classifier = _classifier(name="adaface")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier(torch.randn(6, 8), torch.arange(6), update_statistics=False)
    assert set(before) == {"weight", "margin.norm_mean", "margin.norm_std"}
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
