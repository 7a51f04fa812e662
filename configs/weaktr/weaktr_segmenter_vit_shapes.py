# A small Segmenter with the capped loss on the generated Shapes images, from
# random weights.
_base_ = [
    '../_base_/models/segmenter_deit-small.py',
    '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py',
    '../_base_/narrow_crf.py'
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
tta_model = dict(crf=_base_.narrow_crf)
