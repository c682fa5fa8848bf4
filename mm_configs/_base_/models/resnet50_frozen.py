_base_ = "./resnet50_pretrained.py"

# Frozen to the last stage: the head alone learns, and batch normalisation keeps its statistics.
model = dict(backbone=dict(frozen_stages=4))
