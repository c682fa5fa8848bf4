# With the linear kernel, which has no scale and needs no random features, for 100 epochs: our choice.
_base_ = "./ssl-hsic_resnet50_16xb256-coslr-100e_in1k.py"

model = dict(head=dict(loss=dict(kernel="linear")))
