# Fine-tuning on 10 % of ImageNet's labels: our choice.
_base_ = "./resnet50_8xb32-coslr-20e_in1k-1pct.py"

train_dataloader = dict(dataset=dict(ann_file="meta/train_10pct.txt"))
