# From tags to object masks on the generated Shapes images: CAMs with
# FBR, IRNet's displacements, and one COCO file that a detector can train on.
_base_ = '../_base_/pipelines/cams.py'
variables = dict(
    classifier='configs/fbr/fbr_cam_r18_shapes.py',
    label_config='configs/refine/irn-labels_shapes.py',
    irnet='configs/affinity/irnet_small_shapes.py')
stages = dict(
    cams=dict(
        score='tools/evaluate_cams.py {dir}/maps {classifier} '
        '--train-images --out {dir}/metrics.json'),
    labels=dict(
        command='tools/refine_cams.py {label_config} --cams {cams.maps} '
        '--out {dir}/masks --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {classifier} '
        '--train-images --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            '+ CRF, confident pixels only': 'mIoU',
            'pixels that are not confident, %': 'ignored'
        },
        outputs=dict(masks='{dir}/masks')),
    displacements=dict(
        command='tools/train.py {irnet} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'model.backbone.init_cfg.checkpoint={classify.run} '
        'train_dataloader.dataset.mask_dir={labels.masks} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    instances=dict(
        # Its test images are the training images, which have CAMs.
        command='tools/test.py {irnet} {displacements.run} --out {dir}/out '
        '--work-dir {dir} --cfg-options '
        'test_dataloader.dataset.cam_dir={cams.maps}',
        metrics='{dir}/metrics.json',
        rows={
            '+ walk by object': 'mIoU',
            'objects, AP at IoU 0.5': 'AP50'
        },
        outputs=dict(objects='{dir}/out/instances', masks='{dir}/out/masks')),
    export=dict(
        command='tools/export_instances.py {instances.objects} {irnet} '
        '{dir}/instances.json',
        outputs=dict(file='{dir}/instances.json')),
)
gallery = dict(
    train=dict(columns={
        'confident': '{labels.masks}',
        '+ walk': '{instances.masks}'
    }))
