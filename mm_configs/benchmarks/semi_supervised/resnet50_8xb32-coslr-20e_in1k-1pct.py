# Fine-tuning on 1 % of ImageNet's labels: our choice.
# The list of images, data/imagenet/meta/train_1pct.txt, is described in ../README.md.
_base_ = [
    "../../_base_/models/resnet50_pretrained.py",
    "mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py",
    "../../_base_/benchmark_runtime.py",
]

train_dataloader = dict(dataset=dict(ann_file="meta/train_1pct.txt"))

# The head, which starts at random, learns faster than the pretrained backbone.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys={"head": dict(lr_mult=50)}),
)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=20)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=256)
