default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
# Two runs with one seed are equal, bit for bit on CPU.
randomness = dict(seed=0)
default_hooks = dict(
    runtime_info=dict(type='mmwsss.RuntimeInfoHook'),
    cudnn_benchmark=dict(type='mmwsss.CudnnBenchmarkHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mmwsss.AtomicCheckpointHook',
        by_epoch=False,
        interval=2000,
        max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
custom_hooks = [
    # Pictures of CAMs after the last validation or a test.
    dict(type='mmwsss.GalleryHook'),
    # CAMs as files, when a folder is given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveCAMsHook', out_dir=None),
]
