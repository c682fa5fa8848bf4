# Without a target network, for 100 epochs: our choice.
_base_ = "./ssl-hsic-no-target_resnet50_16xb256-coslr-1000e_in1k.py"

train_cfg = dict(max_epochs=100)
