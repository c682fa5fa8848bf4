"""The methods of the benchmarks: IMSVD and SSL-HSIC of this package beside Lightly's, each as its BenchmarkModule.

All share the backbone, the views, the epochs, the batch size, SGD and its learning rate, and the cosine schedule. Where
a method differs, its class says so. "Lightly's" below means Lightly's own benchmark of the same name, from which the
heads and their widths, the losses, the momenta and the memory bank of its five methods are.
"""

import torch
from benchmark_method import Method, MomentumMethod
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models import utils
from lightly.models.modules import heads
from lightly.utils.lars import LARS
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from imsvd_plugins.lightly import HSICLoss, HSICPredictionHead, HSICProjectionHead, IMSVDLoss, IMSVDProjectionHead


class IMSVDModel(Method):
    """Projector, bins, learning rate and warm-up of the paper (arXiv 2501.03469) for CIFAR-10.

    ``output_dim`` is the number of logits, ``normalize`` whether they are standardized over the batch, and ``loss`` are
    settings of the IMSVDLoss.
    """

    warmup_epochs = 10
    any_number_of_views = True

    def __init__(self, setup, output_dim=1024, num_bins=32, num_layers=3, normalize=False, **loss):
        super().__init__(setup)
        self.projection_head = IMSVDProjectionHead(setup.features, 1024, output_dim, num_layers=num_layers)
        if normalize:
            self.projection_head.layers.append(nn.BatchNorm1d(output_dim, affine=False))
        self.criterion = IMSVDLoss(num_bins=num_bins, **loss)

    def terms(self, *z):
        return self.criterion.forward_components(*z)._asdict()

    def make_optimizer(self, params):
        return torch.optim.SGD(params, lr=0.1 * self.batch_size / 256, momentum=0.9, weight_decay=5e-4)


class SSLHSICModel(MomentumMethod):
    """With a target network whose momentum climbs from 0.99 to 1 (arXiv 2106.08320); heads of Lightly's BYOL.

    ``momentum`` is where it starts, and ``loss`` are settings of the HSICLoss.
    """

    any_number_of_views = True

    def __init__(self, setup, hidden_dim, momentum=0.99, **loss):
        super().__init__(setup)
        self.momentum = momentum
        self.projection_head = HSICProjectionHead(setup.features, hidden_dim, 256)
        self.prediction_head = HSICPredictionHead(256, hidden_dim, 256)
        self.make_target()
        self.criterion = HSICLoss(**loss)

    def training_step(self, batch, batch_idx):
        steps = int(self.trainer.estimated_stepping_batches)
        self.update_target(cosine_schedule(self.global_step, steps, start_value=self.momentum, end_value=1.0))
        views, _, _ = batch
        predictions = [self.prediction_head(self.forward(x)) for x in views]
        return self.loss(*predictions, *(self.forward_momentum(x) for x in views))


class SSLHSICNoTargetModel(Method):
    """Without target network and predictor: the projections alone, normalized over the batch lest they collapse."""

    any_number_of_views = True

    def __init__(self, setup, hidden_dim, **loss):
        super().__init__(setup)
        self.projection_head = HSICProjectionHead(setup.features, hidden_dim, 256)
        self.projection_head.layers.append(nn.BatchNorm1d(256, affine=False))
        self.criterion = HSICLoss(**loss)


class BarlowTwinsModel(Method):
    """Lightly's; two linear layers for CIFAR-10, three for Imagenette."""

    def __init__(self, setup, num_layers):
        super().__init__(setup)
        widths = [setup.features] + [2048] * (num_layers - 2)
        hidden = [(width, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)) for width in widths]
        self.projection_head = heads.ProjectionHead([*hidden, (2048, 2048, None, None)])
        self.criterion = BarlowTwinsLoss()


class VICRegModel(Method):
    """Lightly's for Imagenette (CIFAR-10 has none), with its LARS, which it needs not to diverge, and its warm-up."""

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.BarlowTwinsProjectionHead(setup.features, 2048, 2048)
        self.criterion = VICRegLoss()

    @property
    def warmup_epochs(self):
        return 40 if self.trainer.max_epochs >= 800 else 20

    def make_optimizer(self, params):
        return LARS(params, lr=0.3 * self.batch_size / 256, weight_decay=1e-4, momentum=0.9)


class SimCLRModel(Method):
    """Lightly's."""

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.SimCLRProjectionHead(setup.features, 512, 128)
        self.criterion = NTXentLoss()


class BYOLModel(MomentumMethod):
    """Lightly's, with its constant momentum of 0.99."""

    def __init__(self, setup, hidden_dim):
        super().__init__(setup)
        self.projection_head = heads.BYOLProjectionHead(setup.features, hidden_dim, 256)
        self.prediction_head = heads.BYOLPredictionHead(256, hidden_dim, 256)
        self.make_target()
        similarity = NegativeCosineSimilarity()
        self.criterion = lambda p0, p1, z0, z1: 0.5 * (similarity(p0, z1) + similarity(p1, z0))

    def training_step(self, batch, batch_idx):
        self.update_target(0.99)
        (x0, x1), _, _ = batch
        predictions = (self.prediction_head(self.forward(x)) for x in (x0, x1))
        return self.loss(*predictions, self.forward_momentum(x0), self.forward_momentum(x1))


class MocoModel(MomentumMethod):
    """Lightly's: symmetric, with shuffled and split batch normalisation where the backbone has it."""

    num_splits = 8

    def __init__(self, setup, hidden_dim):
        super().__init__(setup)
        self.projection_head = heads.MoCoProjectionHead(setup.features, hidden_dim, 128)
        self.make_target()
        # Lightly's note: a bank of 4096 changes too quickly at a batch size of 512.
        bank = 8192 if setup.batch_size >= 512 else 4096
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(bank, 128))

    def training_step(self, batch, batch_idx):
        self.update_target(0.99)
        # Lightly's split batch normalisation takes no channels-last images.
        x0, x1 = (x.contiguous() for x in batch[0])

        def step(x0_, x1_):
            x1_, shuffle = utils.batch_shuffle(x1_)
            return self.forward(x0_), utils.batch_unshuffle(self.forward_momentum(x1_), shuffle)

        return 0.5 * (self.loss(*step(x0, x1)) + self.loss(*step(x1, x0)))

    # Lightly's bank is no part of the module's state.
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        bank = self.criterion.memory_bank
        checkpoint["memory_bank"] = bank.bank, bank.bank_ptr

    def on_load_checkpoint(self, checkpoint):
        super().on_load_checkpoint(checkpoint)
        bank = self.criterion.memory_bank
        bank.bank, bank.bank_ptr = (part.to(self.device) for part in checkpoint["memory_bank"])
