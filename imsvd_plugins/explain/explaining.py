"""Making a report from a network and images, in one pass over the images."""

from collections.abc import Sequence

import numpy as np
import torch

from imsvd_plugins.checks import check_integer
from imsvd_plugins.data.progress import ImageProgress
from imsvd_plugins.explain.attribution import attribute
from imsvd_plugins.explain.batches import batches
from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.forward import forward
from imsvd_plugins.explain.images import Images
from imsvd_plugins.explain.report import Report, Variables
from imsvd_plugins.explain.representation import FeatureStatistics, describe_representation
from imsvd_plugins.explain.variables import VariableStatistics, describe_variables

_SIGNIFICANT = 0.05


def explain(
    encoder: Encoder,
    images: Images,
    *,
    title: str = "",
    checkpoint: str = "",
    attributions: int = 64,
    sample: int = 2000,
    shuffles: int = 499,
    batch_size: int = 64,
    num_workers: int = 0,
    seed: int = 0,
) -> Report:
    """Report what a network learned.

    Two augmented views and a plain view of each image pass through the network once. The function keeps the joint
    matrix ``(MK, MK)``, each image's bins, and the features of the sample, but no views or probabilities. A progress
    bar appears on a terminal, elsewhere occasional lines.

    Args:
        encoder: The network, which computes on its own device. If its ``criterion`` is SSL-HSIC's, the report shows the
            similarity of groups by that kernel.
        images: The images. One that cannot be read is skipped and named in the report.
        title: One line for people; "" for the method and the source of the images.
        checkpoint: Where the network comes from, for the report.
        attributions: Number of pairs of image and bin for which the evidence is located in the image.
        sample: Number of images for the map, the neighbours and the similarity of groups, at least 2.
        shuffles: Number of shuffles of the labels in the tests; no p-value is below ``1 / (shuffles + 1)``.
        batch_size: Number of images that pass through the network at a time.
        num_workers: Loader processes; 0 to load in this one.
        seed: Seed of the augmented views, the sample and the tests.

    Returns:
        The report. Up to rounding it is the same for any batch size and number of workers.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range, fewer than two images can be read, the images do not fit the network,
            or its output is not finite.
    """
    least = {"attributions": 0, "sample": 2, "shuffles": 1, "batch_size": 1, "num_workers": 0, "seed": 0}
    given = (attributions, sample, shuffles, batch_size, num_workers, seed)
    for (name, minimum), value in zip(least.items(), given, strict=True):
        check_integer(name, value, minimum=minimum)
    rng = np.random.default_rng(seed)
    priority = rng.permutation(len(images))
    rank = np.argsort(priority)
    of_features = FeatureStatistics(min(sample, len(images)))
    of_variables = None
    if encoder.num_bins is not None:
        of_variables = VariableStatistics(encoder.num_bins, len(images), encoder.temperature)

    positions: list[int] = []
    skipped: list[tuple[str, str]] = []
    views = [encoder.augment, encoder.augment, encoder.plain]
    with ImageProgress(len(images)) as progress:
        for batch in batches(images, views, batch_size, num_workers, seed):
            skipped += [(images.names[index], reason) for index, reason in batch.skipped]
            if batch.indices:
                positions += batch.indices
                features, z_a, z_b, z_plain = _pass(encoder, batch.views)
                of_features.update(features, z_a, z_b, z_plain, torch.from_numpy(rank[batch.indices]))
                if of_variables is not None:
                    of_variables.update(z_a, z_b, z_plain)
            progress(len(batch.indices) + len(batch.skipped))
    if len(positions) < 2:
        reasons = "".join(f"; {name}: {reason}" for name, reason in skipped[:1])
        raise ValueError(
            f"images must hold at least 2 that can be read, got {len(positions)} of {len(images)}{reasons}."
        )

    index_of = np.full(len(images), -1)
    index_of[positions] = np.arange(len(positions))
    order = index_of[priority]
    labels = None if images.labels is None or images.labels.max() < 0 else images.labels[positions]
    variables = None
    if of_variables is not None:
        variables = describe_variables(of_variables, labels, order[order >= 0], shuffles=shuffles, rng=rng)
    sampled = index_of[priority[of_features.sample()[0]]]
    representation = describe_representation(
        of_features,
        sampled,
        None if labels is None else labels[sampled],
        images.classes,
        None if variables is None else variables.bins[sampled],
        encoder.criterion,
    )
    choices = [] if variables is None else choose_attributions(variables, attributions)
    located = []
    if choices:
        with ImageProgress(2 * len(choices), "attributions") as progress:
            for attribution in attribute(encoder, images, choices, positions):
                located.append(attribution)
                progress(1)
    return Report(
        title=title or f"{encoder.method} on {images.source}",
        checkpoint=checkpoint,
        source=images.source,
        method=encoder.method,
        names=[images.names[position] for position in positions],
        positions=np.array(positions, dtype=np.int64),
        labels=labels,
        classes=list(images.classes),
        skipped=skipped,
        representation=representation,
        variables=variables,
        attributions=located,
    )


def choose_attributions(variables: Variables, count: int) -> list[tuple[int, int, int]]:
    """Choose image, variable and bin of the attributions: the surest image in each of a variable's best bins.

    Variables take turns, ordered by their information about the labels or, without labels, by their entropy. A
    variable's bins are ordered by their probability plus, if it is significant, their purity.
    """
    telling = variables.entropies if variables.label_information is None else variables.label_information
    merit = variables.marginals
    if variables.purity is not None and variables.purity_p_value is not None:
        merit = merit + np.where(variables.purity_p_value <= _SIGNIFICANT, np.nan_to_num(variables.purity), 0)
    turns = [
        (turn, variable, int(bin))
        for variable in np.argsort(-telling, kind="stable").tolist()
        for turn, bin in enumerate(np.argsort(-merit[variable], kind="stable"))
        if variables.examples[variable][bin].surest
    ]
    turns.sort(key=lambda each: each[0])
    return [(variables.examples[variable][bin].surest[0], variable, bin) for _, variable, bin in turns[:count]]


def _pass(encoder: Encoder, views: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Features of the plain view and projections of all three, float32 or float64; without a projector, features."""
    # One view at a time needs less memory, and random views may differ in size from the plain one.
    found = [forward(encoder, view) for view in views]
    features = found[2][0]
    results = [features, *(of_view if z is None else z for of_view, z in found)]
    if not all(result.isfinite().all() for result in results):
        raise ValueError("the network gives NaN or infinite values: its training has diverged.")
    return tuple(result if result.dtype == torch.float64 else result.float() for result in results)
