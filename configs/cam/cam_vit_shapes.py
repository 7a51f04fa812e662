# Plain ViT classifier on the generated Shapes images, from random weights.
_base_ = [
    '../_base_/models/cam_vit.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.AttentionViT',
        # 12 x 12 tokens, few and narrow blocks: learns in minutes on a CPU.
        arch=dict(
            embed_dims=128,
            num_layers=3,
            num_heads=4,
            feedforward_channels=256),
        patch_size=8,
        img_size=96),
    cls_head=dict(num_classes=6, in_channels=128),
    # Without pretraining the patches' attention knows nothing of objects yet,
    # so propagating maps along it blurs them: no affinity step. All blocks
    # are read, the first sees the patches themselves.
    localizer=dict(start_layer=0, affinity=False))
