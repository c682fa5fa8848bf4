# IMSVD of four views on CIFAR-10 with one GPU: our choice. Every pair of views has its term in the loss.
# In short trainings four views learned more at a rate that is too large for two (docs/benchmarks/small.md).
_base_ = "./imsvd_resnet18_1xb512-coslr-800e_cifar10.py"

model = dict(head=dict(loss=dict(num_bins=16)))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="MultiView", num_views=[4], transforms=[_base_.view_pipeline]),
            dict(type="PackInputs"),
        ]
    )
)

# 1.0 * 512 / 256
optim_wrapper = dict(optimizer=dict(lr=2.0))
