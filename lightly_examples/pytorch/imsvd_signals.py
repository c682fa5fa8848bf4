# This example requires the following dependencies to be installed:
# pip install 'imsvd_plugins[lightly]' scikit-learn

# Note: The model and training settings do not follow the reference settings
# from the paper. The settings are chosen such that the example can easily be
# run on a small dataset.

# IMSVD on signals of one channel, with a small 1-D ResNet. The signals are made
# here: six waveforms whose period, phase, amplitude, offset and noise vary.

import math

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from imsvd_plugins.lightly import IMSVDLoss, IMSVDProjectionHead

LENGTH = 128


def make_signals(count, generator):
    """Signals (count, 1, LENGTH) and the number of each one's waveform (count,)."""
    labels = torch.randint(6, (count,), generator=generator)
    periods, phases, amplitudes, offsets = torch.rand(4, count, 1, generator=generator)
    time = torch.linspace(0, 1, LENGTH)
    angle = 2 * math.pi * ((2 + 3 * periods) * time + phases)
    waveforms = torch.stack(
        [
            angle.sin(),
            angle.sin().sign(),
            angle.sin().asin() * 2 / math.pi,  # triangle
            (angle / (2 * math.pi)) % 1 * 2 - 1,  # sawtooth
            angle.sin() * (3 * angle).sin(),  # amplitude modulation
            (angle + 3 * angle.sin()).sin(),  # frequency modulation
        ]
    )
    signals = waveforms[labels, torch.arange(count)]
    signals = (0.5 + amplitudes) * signals + 2 * offsets - 1
    signals = signals + 0.3 * torch.randn(count, LENGTH, generator=generator)
    return signals.unsqueeze(1), labels


def view(x):
    """A random part of each signal, stretched, perhaps backwards, with another amplitude, offset and noise."""
    n = len(x)
    scale = 0.5 + 0.5 * torch.rand(n, 1)
    begin = (1 - scale) * torch.rand(n, 1)
    place = 2 * (begin + scale * torch.linspace(0, 1, LENGTH)) - 1
    grid = torch.stack([place, torch.zeros_like(place)], dim=-1).unsqueeze(1)
    x = nn.functional.grid_sample(x.unsqueeze(2), grid, align_corners=True).squeeze(2)
    x = torch.where(torch.rand(n, 1, 1) < 0.5, x.flip(2), x)
    x = (0.5 + torch.rand(n, 1, 1)) * x + torch.rand(n, 1, 1) - 0.5
    return x + 0.2 * torch.randn_like(x)


class Block(nn.Module):
    """A residual block that halves the length."""

    def __init__(self, fan_in, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(fan_in, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2, bias=False),
            nn.BatchNorm1d(width),
        )
        self.shortcut = nn.Conv1d(fan_in, width, 1, stride=2, bias=False)

    def forward(self, x):
        return torch.relu(self.layers(x) + self.shortcut(x))


class IMSVD(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        # 32 variables of 16 bins.
        self.projection_head = IMSVDProjectionHead(64, 256, 512)

    def forward(self, x):
        return self.projection_head(self.backbone(x))


def knn_accuracy(backbone, bank, queries):
    """The share of signals that kNN classifies rightly by their features."""
    backbone.eval()
    with torch.no_grad():
        features = [nn.functional.normalize(backbone(x)).numpy() for x, _ in (bank, queries)]
    backbone.train()
    classifier = KNeighborsClassifier(20).fit(features[0], bank[1])
    return classifier.score(features[1], queries[1])


torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
train, test = make_signals(1024, generator), make_signals(512, generator)

backbone = nn.Sequential(Block(1, 16), Block(16, 32), Block(32, 64), nn.AdaptiveAvgPool1d(1), nn.Flatten())
model = IMSVD(backbone)
print(f"kNN, random weights: {knn_accuracy(backbone, train, test):.3f}")

dataloader = torch.utils.data.DataLoader(train[0], batch_size=128, shuffle=True, drop_last=True)
criterion = IMSVDLoss(num_bins=16)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

epochs = 20

print("Starting Training")
for epoch in range(epochs):
    total_loss = 0
    for x in dataloader:
        z0 = model(view(x))
        z1 = model(view(x))
        loss = criterion(z0, z1)
        total_loss += loss.detach()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    avg_loss = total_loss / len(dataloader)
    print(f"epoch: {epoch:>02}, loss: {avg_loss:.5f}")
print(f"kNN, trained: {knn_accuracy(backbone, train, test):.3f}")
