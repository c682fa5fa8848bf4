"""Reports of random projections of real pixels, with planted variables: what a page shows, without a training.

Variable 0 follows the label, variable 2 repeats variable 1 with its bins in another order, variable 3 has collapsed.
"""

import numpy as np
from PIL import Image

from imsvd_plugins.explain.report import Attribution, Examples, Report, Representation, Variables


class Images:
    """Pixels ``(n, h, w, 3)`` under their names."""

    def __init__(self, pixels, names):
        self.pixels = pixels
        self.names = names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return Image.fromarray(self.pixels[index])


def whole(pixels, labels, names, classes, num_variables, num_bins, method="IMSVD", seed=0, joint_of=4000):
    """A report of all that a page can show; the joint distribution is of the first ``joint_of`` images."""
    generator = np.random.default_rng(seed)
    features = _features(pixels)
    has_variables = method == "IMSVD"
    return Report(
        title=f"{method} on {len(names)} images",
        checkpoint="work_dirs/run/epoch_200.pth",
        source="images/",
        method=method,
        names=list(names),
        positions=np.arange(len(names)),
        labels=labels,
        classes=list(classes),
        skipped=[],
        representation=_representation(features, labels, classes, method),
        variables=_variables(features, labels, num_variables, num_bins, generator, joint_of) if has_variables else None,
        attributions=_attributions(pixels, num_variables, num_bins, generator) if has_variables else [],
    )


def _features(pixels):
    flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    flat -= flat.mean(axis=0)
    _, _, directions = np.linalg.svd(flat[:2000], full_matrices=False)
    features = flat @ directions[:48].T
    return features / (features.std(axis=0) + 1e-6)


def _softmax(logits):
    logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return logits / logits.sum(axis=-1, keepdims=True)


def _variables(features, labels, M, K, generator, joint_of):
    N, d = features.shape
    weights = generator.normal(size=(d, M, K)).astype(np.float32) * 4 / np.sqrt(d)
    weights[:, 2] = weights[:, 1][:, generator.permutation(K)]
    offsets = np.zeros((M, K), dtype=np.float32)
    offsets[3, 1] = 40
    bin_of_class = generator.integers(K, size=100)
    bins = np.empty((N, M), dtype=np.uint8)
    certainty = np.empty((N, M), dtype=np.float16)
    views_in_bin = np.empty((N, M), dtype=np.uint8)
    joint = np.zeros((M * K, M * K))
    marginals = np.zeros((M, K))
    agreement = np.zeros(M)
    views_of_bin, agreeing_views = np.zeros((M, K)), np.zeros((M, K))
    for start in range(0, N, 500):
        part = slice(start, min(start + 500, N))
        count = part.stop - part.start
        views = []
        for noise in (0, 0.3, 0.3):
            view = features[part] + noise * generator.normal(size=(count, d)).astype(np.float32)
            logits = np.einsum("nd,dmk->nmk", view, weights, optimize=True) + offsets
            if labels is not None:
                logits[np.arange(count), 0, bin_of_class[labels[part]]] += 8
            views.append(_softmax(logits))
        plain, first, second = views
        bins[part] = plain.argmax(-1)
        certainty[part] = plain.max(-1)
        views_in_bin[part] = sum((view.argmax(-1) == bins[part]).astype(np.uint8) for view in (first, second))
        marginals += (first + second).sum(0) / 2
        agreement += (first.argmax(-1) == second.argmax(-1)).sum(0)
        hard = [view.argmax(-1)[:, :, None] == np.arange(K) for view in (first, second)]
        views_of_bin += sum(hard).sum(0)
        agreeing_views += 2 * (hard[0] & hard[1]).sum(0)
        if start < joint_of:
            joint += first.reshape(count, -1).T @ second.reshape(count, -1)
    marginals /= N
    joint = (joint / joint[:K, :K].sum()).astype(np.float32)
    entropies = -(marginals * np.log(marginals + 1e-30)).sum(1) / np.log(K)
    information = _mutual_information(joint, M, K)
    telling = _telling(bins, labels, K) if labels is not None else (None,) * 6
    pairs = [(m, n, float(information[m, n])) for m in range(M) for n in range(m + 1, M)]
    return Variables(
        joint=joint,
        marginals=marginals,
        entropies=entropies,
        bins_used=np.array([len(np.unique(column)) for column in bins.T]),
        mutual_information=information,
        order=np.argsort(np.linalg.svd(information)[0][:, 1]),
        redundant_pairs=sorted(pairs, key=lambda pair: -pair[2])[:200],
        bins=bins,
        certainty=certainty,
        views_in_bin=views_in_bin,
        agreement=agreement / N,
        agreement_by_chance=(marginals**2).sum(1),
        bin_agreement=np.where(views_of_bin > 0, agreeing_views / np.maximum(views_of_bin, 1), np.nan),
        bin_agreement_by_chance=np.where(views_of_bin > 0, views_of_bin / (2 * N), np.nan),
        label_information=telling[0],
        label_information_by_chance=telling[1],
        label_p_value=telling[2],
        purity=telling[3],
        majority=telling[4],
        purity_p_value=telling[5],
        examples=[[_examples(np.flatnonzero(bins[:, m] == k), certainty[:, m]) for k in range(K)] for m in range(M)],
    )


def _mutual_information(joint, M, K):
    information = np.empty((M, M))
    for m in range(M):
        rows = joint[m * K : (m + 1) * K].astype(np.float64).reshape(K, M, K).transpose(1, 0, 2)
        outer = rows.sum(2)[:, :, None] * rows.sum(1)[:, None, :]
        nats = (rows * np.log((rows + 1e-30) / (outer + 1e-30))).sum((1, 2))
        information[m] = np.clip(nats / np.log(K), 0, 1)
    return (information + information.T) / 2


def _telling(bins, labels, K):
    classes = labels.max() + 1
    counts = np.zeros((bins.shape[1], K, classes))
    for m, column in enumerate(bins.T):
        np.add.at(counts[m], (column, labels), 1)
    size = counts.sum(2)
    joint = counts / len(labels)
    outer = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True)
    information = (joint * np.log((joint + 1e-30) / (outer + 1e-30))).sum((1, 2)) / np.log(classes)
    with np.errstate(invalid="ignore"):
        purity = counts.max(2) / size
    chance = np.full(len(information), np.quantile(information, 0.3))
    return (
        information,
        chance,
        np.where(information > 1.3 * chance, 0.001, 0.8),
        purity,
        np.where(size > 0, counts.argmax(2), -1),
        np.where(purity > 2 / classes, 0.001, 1.0),
    )


def _examples(members, certainty):
    order = members[np.argsort(-certainty[members].astype(np.float32))].tolist()
    return Examples(surest=order[:8], random=order[::3][:8], quantiles=order[:: max(1, len(order) // 8)][:8])


def _representation(features, labels, classes, method):
    groups = list(classes) if labels is not None else ["cluster 0", "cluster 1"]
    member = labels if labels is not None else (features[:, 0] > 0).astype(int)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([unit[member == group].mean(0) for group in range(len(groups))])
    shown = np.arange(min(len(features), 60))
    nearest = np.argsort(-(unit[shown] @ unit.T), axis=1)[:, 1:9]
    spectrum = np.linalg.svd(features[:2000], compute_uv=False)
    return Representation(
        rankme=17.3,
        spectrum=spectrum * np.exp(-np.arange(len(spectrum)) / 9),
        alignment=0.31,
        uniformity=-2.8,
        groups=groups,
        gram=means @ means.T,
        similarity="cosine similarity of the features",
        random_feature_error=0.043 if method == "SSLHSIC" else None,
        map=features[:2000, :2].astype(float),
        map_images=np.arange(len(features[:2000])),
        neighbours_images=shown,
        neighbours_by_features=nearest,
        neighbours_by_code=nearest[:, ::-1] if method == "IMSVD" else None,
    )


def _attributions(pixels, M, K, generator, count=16):
    height, width = pixels.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    found = []
    for image in range(min(count, len(pixels))):
        down, right = generator.uniform(0.2, 0.8, 2)
        blob = np.exp(-(((rows / height - down) ** 2 + (columns / width - right) ** 2) / 0.03))
        signed = (blob + 0.15 * generator.normal(size=(height, width))).astype(np.float32)
        found.append(Attribution(image, image % M, image % K, "integrated gradients", signed, 0.004))
        found.append(Attribution(image, image % M, image % K, "Grad-CAM", blob.astype(np.float32), float("nan")))
    return found
