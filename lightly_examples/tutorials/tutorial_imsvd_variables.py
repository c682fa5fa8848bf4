""".. _imsvd-variables-tutorial:

The Variables of IMSVD
======================

Barlow Twins and VICReg look at numbers: their losses are made of correlations. `IMSVD
<https://arxiv.org/abs/2501.03469>`_ looks at *variables*. It reads the ``M * K`` outputs of the projection head as
``M`` variables of ``K`` *bins* each, like ``M`` questions with ``K`` possible answers, and turns each group of ``K``
outputs into probabilities with a softmax. How often two answers go together can then be counted: that is a joint
distribution, and entropy and information follow from it, also of relations that are not linear.

In this tutorial you will learn:

- What a variable and a bin are, and what the three terms of the loss do with them
- What collapse looks like, and which figures show it without labels
- How to see what a variable has learned
- How to choose ``K`` and ``M``

We train on the 8x8 scans of digits that come with scikit-learn, so there is nothing to download, and a minute or two on
a CPU are enough.
"""

# %%
# Imports
# -------
#
# .. code-block:: console
#
#   pip install 'imsvd_plugins[demo]'

import matplotlib.pyplot as plt
import torch
import torchvision.transforms as T
from lightly.utils.benchmarking import knn_predict
from lightly.utils.scheduler import CosineWarmupScheduler
from PIL import Image
from torch import nn
from torch.nn.functional import normalize

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.explain import draw_joint_distribution
from imsvd_plugins.functional import soft_discretize
from imsvd_plugins.functional.diagnostics import representation_metrics
from imsvd_plugins.lightly import IMSVDLoss, IMSVDProjectionHead, IMSVDTransform

# %%
# Configuration
# -------------
#
# 32 variables of 8 bins. Feel free to change them.
num_variables, num_bins = 32, 8
batch_size = 256
epochs = 30
seed = 1

# %%
# Data and Views
# --------------
#
# A view is the digit at another place, size and slant. The loss compares two views of each image; labels are for
# looking at the result only.
to_tensor = T.Compose([T.ToTensor(), T.Normalize(3 * [0.5], 3 * [0.5])])
view = T.Compose([T.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10), to_tensor])


class Digits(torch.utils.data.Dataset):
    def __init__(self, split, transform):
        images, labels = load_digits(split)
        self.images, self.labels = [Image.fromarray(image) for image in images], torch.from_numpy(labels)
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), self.labels[index]


dataset = Digits("train", IMSVDTransform(view, view))

# %%
# Model and Training
# ------------------
#
# As with any of Lightly's methods: a backbone, a projection head, a criterion. The head's output dimension is
# ``M * K``.


class IMSVD(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for fan_in, width, stride in ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(fan_in, width, 3, stride, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projection_head = IMSVDProjectionHead(128, 512, num_variables * num_bins)

    def forward(self, x):
        return self.projection_head(self.backbone(x))


def train(criterion):
    torch.manual_seed(seed)
    model = IMSVD()
    dataloader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4)
    steps = epochs * len(dataloader)
    scheduler = CosineWarmupScheduler(optimizer, warmup_epochs=steps // 10, max_epochs=steps)
    for epoch in range(epochs):
        for (x0, x1), _ in dataloader:
            terms = criterion.forward_components(model(x0), model(x1))
            terms.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        if epoch % 10 == 0 or epoch == epochs - 1:
            values = ", ".join(f"{name}: {value.detach():.2f}" for name, value in terms._asdict().items())
            print(f"epoch: {epoch:>02}, {values}")
    return model.eval()


# %%
# We train three times: with the whole loss, without its off-diagonal term, and with the invariance alone.
#
# - ``invariance`` falls when both views of an image fall into the same bins. 0 is best. It is what makes a variable say
#   something about the *image*; alone it is content with one bin for all images.
# - ``diagonal`` falls when each variable uses all its bins equally. ``-log K`` is best.
# - ``off_diagonal`` is minus the joint entropy of two different variables, averaged over all pairs. It falls when all
#   ``K * K`` pairs of bins are equally frequent, ``-2 log K`` at best: two such variables are independent, none repeats
#   the other.
torch.manual_seed(seed)
models = {"random weights": IMSVD().eval()}
for name, weights in {
    "IMSVD": {},
    "no off_diagonal": {"off_diagonal_weight": 0.0},
    "invariance alone": {"diagonal_weight": 0.0, "off_diagonal_weight": 0.0},
}.items():
    print(name)
    models[name] = train(IMSVDLoss(num_bins=num_bins, **weights))

# %%
# Figures without Labels
# ----------------------
#
# ``representation_metrics`` needs two views and no labels. For comparison we add an accuracy: each test digit, seen as
# a random view, takes the label of its nearest neighbours among the training digits.
torch.manual_seed(seed)
x_a, x_b = (torch.stack(views) for views in zip(*(views for views, _ in dataset), strict=True))
upright, moved = Digits("train", to_tensor), Digits("test", view)
x_train, x_test = (torch.stack([x for x, _ in part]) for part in (upright, moved))
figures, probabilities = {}, {}

with torch.no_grad():
    for name, model in models.items():
        z_a, z_b = model(x_a), model(x_b)
        figures[name] = representation_metrics(model.backbone(x_a), z_a, z_b, num_bins)
        probabilities[name] = soft_discretize(z_a, num_bins), soft_discretize(z_b, num_bins)
        bank, queries = (normalize(model.backbone(images), dim=1) for images in (x_train, x_test))
        predicted = knn_predict(queries, bank.T.contiguous(), upright.labels, num_classes=10, knn_k=20, knn_t=0.07)
        figures[name]["kNN accuracy"] = (predicted[:, 0] == moved.labels).float().mean().item()

print(f"{'':22}" + "".join(f"{name:>18}" for name in figures))
for key in figures["IMSVD"]:
    print(f"{key:22}" + "".join(f"{values[key]:18.2f}" for values in figures.values()))

# %%
# The columns, from left to right:
#
# - *Random weights* look perfect by the entropies. Each image is spread over all bins alike, so that all bins are
#   equally frequent and nothing is said about any image. ``unused_bins``, the share of bins that are no image's most
#   probable one, and a ``uniformity`` near 0 give it away: read the figures together.
# - *IMSVD* uses all bins of all variables, and the accuracy rises from about 0.6 to about 0.9.
# - *Without off_diagonal* most bins are never used. The diagonal term does not bring them back: a bin that no image
#   falls into has hardly a gradient.
# - *Invariance alone* collapses further: by ``least_variable_entropy`` there is a variable with one bin for all images.
#   ``mutual_information`` is small here as well, because variables that say nothing have nothing in common.
#
# The Joint Distribution
# ----------------------
#
# Four variables, two views: each block shows how often a bin of one variable goes with a bin of another. Red is more
# often than for independent variables that use their bins equally, blue more seldom, white just as often.
#
# The blocks on the diagonal are a variable with itself. Their red diagonal says that both views of an image fall into
# the same bin. White in all other blocks would be full independence. A short training on small data stays away from it:
# two variables still share about 0.8 of the ``log 8``, or 2.1, nats that each can say (``mutual_information``).
draw_joint_distribution(*probabilities["IMSVD"])
plt.show()

# %%
# Without the off-diagonal term this is collapse: a few bins a variable, the rest is empty, and which of them it is
# follows largely from another variable. They repeat each other.
draw_joint_distribution(*probabilities["no off_diagonal"])
plt.show()

# %%
# Random weights: white everywhere, on the diagonal too. The variables are independent and say nothing.
draw_joint_distribution(*probabilities["random weights"])
plt.show()

# %%
# What a Variable Says
# --------------------
#
# What the answers to a question mean can be seen: here are, bin by bin, the images that are most surely in it. It
# is the variable that says most about the label, by mutual information: ``H(variable) + H(label) - H(both)``.


def label_information(p):
    joint = torch.stack([p[upright.labels == label].sum(dim=0) for label in range(10)], dim=-1) / len(p)  # (M, K, 10)
    variable, label, both = (
        torch.special.entr(q).flatten(start_dim=1).sum(dim=1) for q in (joint.sum(dim=2), joint.sum(dim=1), joint)
    )
    return variable + label - both


information = {name: label_information(p) for name, (p, _) in probabilities.items()}
variable = int(information["IMSVD"].argmax())
surest = probabilities["IMSVD"][0][:, variable].argsort(dim=0, descending=True)

figure, axes = plt.subplots(num_bins, 14, figsize=(7, 0.5 * num_bins), layout="constrained")
for k, row in enumerate(axes):
    for axis, index in zip(row, surest[:, k], strict=False):
        axis.imshow(dataset.images[index])
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"bin {k}", rotation=0, ha="right", va="center")
figure.suptitle(f"variable {variable}: the surest images of each bin")
plt.show()

# %%
# Most rows hold one digit, or digits that are drawn alike. There are fewer bins than digits, so that no variable can
# tell them all apart. Here are all variables, sorted by each of two figures:
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for (name, (p, _)), style in zip(probabilities.items(), ("k--", "C0", "C1", "C3"), strict=True):
    entropy = torch.special.entr(p.mean(dim=0)).sum(dim=1)
    left.plot(entropy.sort(descending=True).values, style, label=name)
    right.plot(information[name].sort(descending=True).values, style)
left.set(title="entropy", xlabel="variables, sorted", ylabel="nats")
right.set(title="mutual information with the label", xlabel="variables, sorted", ylabel="nats")
figure.legend(loc="outside right center")
plt.show()

# %%
# After IMSVD every variable is full, near ``log 8``, and says about half of what there is to know about the label,
# ``log 10`` or 2.3 nats, though it was trained without labels. Without the off-diagonal term they say less, and with
# the invariance alone some say nothing at all.
#
# How to Choose K and M
# ---------------------
#
# ``K``: two variables have ``K * K`` pairs of bins, and a batch of ``N`` images can fill at most ``N`` of them, so take
# ``K`` near the square root of the batch. The paper goes to a little less than twice that, with 32 bins for batches of
# 512 and 80 for 2048. More bins say finer things and leave more between independence and what is reached. On these
# digits 4, 8, 16 and 32 bins gave much the same accuracy, but of 32 some stayed empty: ``unused_bins`` tells.
#
# ``M``: what the memory and time for ``M * K`` outputs allow; the cost of the loss grows with their square. The paper
# has 32 variables for CIFAR-10 and 102 for ImageNet. On these digits 8 and 32 variables did about equally well.
#
# Next Steps
# ----------
#
# - ``lightly_examples/pytorch_lightning/imsvd.py`` trains on CIFAR-10 with Lightning.
# - On several devices, ``IMSVDLoss(gather_distributed=True)`` takes the joint distribution of all devices' batches.
