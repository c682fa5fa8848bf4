# The paper's ImageNet recipe on 4 nodes of 8 GPUs: the same global batch, and so the same rate.
_base_ = "./imsvd_resnet50_8xb256-coslr-100e_in1k.py"

train_dataloader = dict(batch_size=64)
