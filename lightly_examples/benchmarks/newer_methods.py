"""Lightly 1.6's newest methods: VISReg, LeJEPA, FroSSL and MMCR, with the heads of Lightly's own examples.

Lightly's benchmarks train VISReg and LeJEPA with crops of two sizes, "global" and "local". Here all views are global.
"""

import torch
from benchmark_method import Method, MomentumMethod
from lightly.loss import FroSSLLoss, LeJEPALoss, MMCRLoss, VISRegLoss
from lightly.loss.lejepa_loss import lejepa_invariance_loss
from lightly.models.modules import heads
from lightly.utils.scheduler import cosine_schedule
from torch import nn
from torch.nn import functional


class VISRegModel(Method):
    """Head of Lightly's ImageNet benchmark; the weight of the regularization that Lightly names for small datasets."""

    any_number_of_views = True

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.ProjectionHead(
            [
                (setup.features, 2048, nn.BatchNorm1d(2048), nn.GELU()),
                (2048, 2048, nn.BatchNorm1d(2048), nn.GELU()),
                (2048, 256, None, None),
            ]
        )
        self.visreg = VISRegLoss(lambda_param=0.6, num_slices=2048)

    def criterion(self, *z):
        projections = torch.stack(z)
        return self.visreg(local_proj=projections[:0], global_proj=projections)


class LeJEPAModel(Method):
    """Lightly's head, SIGReg and weights. LeJEPALoss insists on local views, so its two terms are added here."""

    any_number_of_views = True

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.LeJEPAProjectionHead(setup.features)
        self.lejepa = LeJEPALoss()

    def criterion(self, *z):
        projections = torch.stack(z)
        weight = self.lejepa.lambda_param
        invariance = lejepa_invariance_loss(all_proj=projections, global_proj=projections)
        return weight * self.lejepa.sigreg(projections) + (1 - weight) * invariance


class FroSSLModel(Method):
    """Lightly's example for CIFAR-10."""

    any_number_of_views = True

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.VICRegProjectionHead(setup.features, 2048, 2048, num_layers=2)
        self.frossl = FroSSLLoss()

    def criterion(self, *z):
        return self.frossl(z)


class MMCRModel(MomentumMethod):
    """Lightly's example for CIFAR-10, with its target network, whose momentum climbs from 0.996 to 1.

    The projections lie on the unit sphere, as in the paper (arXiv 2303.03307). Without that, as in Lightly's example,
    the loss has no lower bound, and training diverged at rates of 0.012, 0.12, 0.38 and 1.2.
    """

    any_number_of_views = True

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.MMCRProjectionHead(setup.features, 512, 128)
        self.make_target()
        self.mmcr = MMCRLoss()

    def criterion(self, *z):
        online, target = functional.normalize(torch.stack(z, dim=1), dim=2).chunk(2, dim=1)
        return self.mmcr(online, target)

    def training_step(self, batch, batch_idx):
        steps = int(self.trainer.estimated_stepping_batches)
        self.update_target(cosine_schedule(self.global_step, steps, start_value=0.996, end_value=1.0))
        views, _, _ = batch
        return self.loss(*(self.forward(x) for x in views), *(self.forward_momentum(x) for x in views))
