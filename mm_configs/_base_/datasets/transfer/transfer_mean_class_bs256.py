# Transfer that is scored by the mean of the classes' accuracies too.
_base_ = "./transfer_bs256.py"

# The field reports the mean of the classes' accuracies here, which is the macro-averaged recall.
val_evaluator = [
    dict(type="Accuracy", topk=(1,)),
    dict(type="SingleLabelMetric", items=("recall",), average="macro"),
]
test_evaluator = val_evaluator
