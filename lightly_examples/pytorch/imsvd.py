# This example requires the following dependencies to be installed:
# pip install 'imsvd_plugins[lightly]'

# Note: The model and training settings do not follow the reference settings
# from the paper. The settings are chosen such that the example can easily be
# run on a small dataset.

import torch
import torchvision
from lightly.transforms import BYOLView1Transform
from torch import nn

from imsvd_plugins.lightly import IMSVDLoss, IMSVDProjectionHead, IMSVDTransform


class IMSVD(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        # 32 variables of 32 bins.
        self.projection_head = IMSVDProjectionHead(512, 1024, 1024, num_layers=3)

    def forward(self, x):
        y = self.backbone(x).flatten(start_dim=1)
        z = self.projection_head(y)
        return z


resnet = torchvision.models.resnet18()
backbone = nn.Sequential(*list(resnet.children())[:-1])
model = IMSVD(backbone)

device = "cuda" if torch.cuda.is_available() else "cpu"
model.to(device)

# The views of the paper for CIFAR-10: no blur, no solarization.
view_transform = BYOLView1Transform(input_size=32, min_scale=0.2, cj_sat=0.4, gaussian_blur=0.0)
transform = IMSVDTransform(view_transform, view_transform)
dataset = torchvision.datasets.CIFAR10("datasets/cifar10", download=True, transform=transform)
# or create a dataset from a folder containing images or videos:
# dataset = LightlyDataset("path/to/folder", transform=transform)

dataloader = torch.utils.data.DataLoader(
    dataset,
    batch_size=256,
    shuffle=True,
    drop_last=True,
    num_workers=8,
)

criterion = IMSVDLoss(num_bins=32)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

epochs = 10

print("Starting Training")
for epoch in range(epochs):
    total_loss = 0
    for batch in dataloader:
        x0, x1 = batch[0]
        x0 = x0.to(device)
        x1 = x1.to(device)
        z0 = model(x0)
        z1 = model(x1)
        loss = criterion(z0, z1)
        total_loss += loss.detach()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    avg_loss = total_loss / len(dataloader)
    print(f"epoch: {epoch:>02}, loss: {avg_loss:.5f}")
