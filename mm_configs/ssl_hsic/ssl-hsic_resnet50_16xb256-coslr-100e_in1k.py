# The paper's ImageNet recipe for 100 epochs; all that follows from the length is our choice.
_base_ = "./ssl-hsic_resnet50_16xb256-coslr-1000e_in1k.py"

train_cfg = dict(max_epochs=100)
