# default_runtime.py for the training of an object finder, which takes minutes
# and knows no CAMs.
_base_ = './default_runtime.py'
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=1))
custom_hooks = []
