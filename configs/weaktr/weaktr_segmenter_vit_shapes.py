# A small Segmenter with the capped loss on the generated Shapes images, from
# random weights.
_base_ = [
    '../_base_/models/segmenter_deit-small.py',
    '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py'
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
        img_size=96,
        final_norm=True),
    decode_head=dict(
        in_channels=128,
        channels=128,
        embed_dims=128,
        num_classes=7,
        num_heads=4,
        loss_decode=dict(cell=24)),
    test_cfg=dict(_delete_=True, mode='whole'))
# Narrow kernels: the images are 96 pixels wide.
tta_model = dict(
    crf=dict(
        num_iters=5,
        gaussian_sxy=1,
        gaussian_compat=2,
        bilateral_sxy=20,
        bilateral_srgb=8,
        bilateral_compat=3))
