# adamw_linear.py for segmentation heads. With noisy labels a smaller step is
# better, see docs/reproduction.md.
_base_ = './adamw_linear.py'
optim_wrapper = dict(optimizer=dict(lr=3e-4))
