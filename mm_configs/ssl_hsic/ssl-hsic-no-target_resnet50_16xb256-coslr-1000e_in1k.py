# The paper's ImageNet recipe without a target network: the views are the two projections, with no predictor.
# The normalisation of the projections is our choice: without it they start out nearly equal and collapse.
_base_ = "./ssl-hsic_resnet50_16xb256-coslr-1000e_in1k.py"

model = dict(
    base_momentum=None,
    neck=dict(with_last_bn=True, with_last_bn_affine=False),
    head=dict(predictor=None),
)
