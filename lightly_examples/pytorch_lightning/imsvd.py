# This example requires the following dependencies to be installed:
# pip install 'imsvd_plugins[lightly]'

# Note: The model and training settings do not follow the reference settings
# from the paper. The settings are chosen such that the example can easily be
# run on a small dataset with a single GPU.

import pytorch_lightning as pl
import torch
import torchvision
from lightly.transforms import BYOLView1Transform
from torch import nn

from imsvd_plugins.lightly import IMSVDLoss, IMSVDProjectionHead, IMSVDTransform


class IMSVD(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1])
        # 32 variables of 32 bins.
        self.projection_head = IMSVDProjectionHead(512, 1024, 1024, num_layers=3)
        self.criterion = IMSVDLoss(num_bins=32)

    def forward(self, x):
        y = self.backbone(x).flatten(start_dim=1)
        z = self.projection_head(y)
        return z

    def training_step(self, batch, batch_idx):
        (x0, x1) = batch[0]
        z0 = self.forward(x0)
        z1 = self.forward(x1)
        loss = self.criterion(z0, z1)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


model = IMSVD()

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

trainer = pl.Trainer(max_epochs=10, devices=1, accelerator="auto")
trainer.fit(model=model, train_dataloaders=dataloader)
