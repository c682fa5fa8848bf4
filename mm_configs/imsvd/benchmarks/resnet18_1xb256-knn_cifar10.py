# The paper's kNN on CIFAR-10, of a finished checkpoint.
_base_ = "../../_base_/default_runtime.py"

# Of a pretraining's checkpoint the backbone's weights alone have a place here.
model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    neck=dict(type="GlobalAveragePooling"),
)

# As in the pretraining; the images are RGB already.
data_preprocessor = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255], to_rgb=False)

dataset = dict(type="CIFAR10", data_root="data/cifar10/", pipeline=[dict(type="PackInputs")])
test_dataloader = dict(batch_size=256, num_workers=4, dataset=dict(dataset, split="test"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=256, num_workers=4, dataset=dict(dataset, split="train")),
)
