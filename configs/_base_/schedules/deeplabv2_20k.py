# deeplab_20k.py for DeepLabV2: head 10 times faster, its biases 20 times and
# without weight decay.
_base_ = './deeplab_20k.py'
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4),
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.),
            **{
                f'decode_head.branches.{i}.bias': dict(
                    lr_mult=20., decay_mult=0.)
                for i in range(4)
            }
        }))
