# kNN on scikit-learn's digits, of either method's finished checkpoint.
_base_ = ["../../_base_/models/resnet14-w24_digits.py", "../../_base_/digits_runtime.py"]

# Of a pretraining's checkpoint the backbone's weights alone have a place here.
model = dict(type="ImageClassifier", neck=dict(_delete_=True, type="GlobalAveragePooling"))

data_preprocessor = dict(mean=[78.0] * 3, std=[96.0] * 3)

dataset = dict(type="imsvd_plugins.Digits", size=16, pipeline=[dict(type="PackInputs")])
test_dataloader = dict(batch_size=256, num_workers=0, dataset=dict(dataset, split="test"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=256, num_workers=0, dataset=dict(dataset, split="train")),
)
