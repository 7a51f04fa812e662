# The frozen parts on CAMs of any method: affinity, labels of sure pixels, a
# linear segmentation head. Say where the CAM files of the training images lie:
#   --cfg-options variables.cam_folder=FOLDER
_base_ = './pipeline_voc-mini.py'
variables = dict(cam_folder='work_dirs/cams/voc-mini')
stages = dict(
    _delete_=True,
    # Nothing is made here: CAMs that are there already are scored.
    cams=dict(
        command='tools/evaluate_cams.py {cam_folder} {scored_on} '
        '--out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows=_base_.stages.cams.rows,
        outputs=dict(maps='{cam_folder}')),
    affinity=_base_.stages.affinity,
    labels=_base_.stages.labels,
    segment=_base_.stages.segment,
    test=_base_.stages.test,
    test_labels=_base_.stages.test_labels)
