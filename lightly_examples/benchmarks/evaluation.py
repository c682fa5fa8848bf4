"""Metrics of a frozen backbone: kNN, a linear probe, and the same probe with 1 % of the labels."""

import numpy as np
import torch
from lightly.utils.benchmarking import knn_predict
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import normalize

FEW_LABEL_DRAWS = 5  # draws of 1 % of the labels, the same in every run


class DivergedError(Exception):
    """A training that ended in numbers that are infinite or NaN."""


@torch.no_grad()
def extract_features(backbone, loader):
    """Features ``(N, D)`` and labels ``(N,)`` of all images of a loader, by a backbone in evaluation mode.

    Raises:
        DivergedError: If a feature is infinite or NaN.
    """
    training = backbone.training
    backbone.eval()
    parts = [(backbone(images).flatten(start_dim=1), labels) for images, labels, _ in loader]
    backbone.train(training)
    features, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    # The loss may still be finite: batch normalization hides weights that have grown without bound.
    if not features.isfinite().all():
        raise DivergedError("The features are infinite or NaN.")
    return features, labels


def knn_accuracy(bank, queries, num_classes, k):
    """Top-1 accuracy of Lightly's kNN vote (cosine similarity, temperature 0.1)."""
    (bank_features, bank_labels), (features, labels) = bank, queries
    bank_features = normalize(bank_features, dim=1).t().contiguous()
    ranking = knn_predict(normalize(features, dim=1), bank_features, bank_labels, num_classes, knn_k=k, knn_t=0.1)
    return (ranking[:, 0] == labels).float().mean().item()


def linear_accuracy(train, test):
    """Top-1 accuracy of a logistic regression on features that are standardized by the training images' statistics."""
    (train_features, train_labels), (features, labels) = train, test
    # Of linear layers trained to the end by SGD, this is the deterministic form; the scaler is their batch norm.
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train_features.numpy(), train_labels.numpy())
    return float(probe.score(features.numpy(), labels.numpy()))


def few_label_accuracy(train, test, num_classes):
    """Mean accuracy of the linear probe over fixed draws of 1 % of the labels, as many of each class."""
    features, labels = train
    per_class = max(1, len(labels) // (100 * num_classes))
    accuracies = []
    for draw in range(FEW_LABEL_DRAWS):
        # RandomState, because its stream is the same in every version of NumPy.
        order = np.random.RandomState(draw).permutation(len(labels))
        chosen = [order[labels.numpy()[order] == label][:per_class] for label in range(num_classes)]
        indices = torch.from_numpy(np.concatenate(chosen))
        accuracies.append(linear_accuracy((features[indices], labels[indices]), test))
    return float(np.mean(accuracies))


def evaluate(backbone, bank_loader, query_loader, num_classes):
    """All metrics of a backbone: the bank's images and labels are what it may learn from."""
    bank, queries = extract_features(backbone, bank_loader), extract_features(backbone, query_loader)
    size = len(bank[1])
    return {
        "knn20": knn_accuracy(bank, queries, num_classes, min(20, size)),
        "knn200": knn_accuracy(bank, queries, num_classes, min(200, size)),
        "linear": linear_accuracy(bank, queries),
        "linear_1pct": few_label_accuracy(bank, queries, num_classes),
    }
