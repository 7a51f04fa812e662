# eps-ppc_lite2-160_voc-mini.py from image-level labels alone: with saliency
# maps of objects that are found without labels; write them first:
#   python tools/discover_objects.py \
#       configs/discovery/tokencut_vit-tiny_voc-mini.py
_base_ = './eps-ppc_lite2-160_voc-mini.py'
train_dataloader = dict(
    dataset=dict(saliency_dir='work_dirs/tokencut_vit-tiny_voc-mini/saliency'))
