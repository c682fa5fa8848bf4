# Pascal VOC 2007: 20 classes of which an image may have several, and their mean average precision.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=20, to_onehot=True)

# What the metric needs beside the defaults: the objects that count as difficult.
pack = dict(
    type="PackInputs",
    meta_keys=("sample_idx", "img_path", "ori_shape", "img_shape", "scale_factor", "gt_label_difficult"),
)
dataset = dict(type="VOC", data_root="data/VOC2007")
train_dataloader = dict(dataset=dict(dataset, split="trainval"))
val_dataloader = dict(dataset=dict(dataset, pipeline=[_base_.load, *_base_.test_views[:-1], pack]))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type="VOCAveragePrecision")
test_evaluator = val_evaluator
