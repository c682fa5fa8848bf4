# Transfer to Oxford Flowers-102 by fine-tuning: our choice.
_base_ = [
    "../../_base_/models/resnet50_pretrained.py",
    "../../_base_/datasets/transfer/flowers102.py",
    "../../_base_/schedules/finetune_sgd_coslr_100e.py",
    "../../_base_/benchmark_runtime.py",
]

train_dataloader = dict(batch_size=64)
model = dict(head=dict(num_classes=102))
