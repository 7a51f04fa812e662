# class_exclusion.py on Shapes, minutes on a CPU. What is not named here is
# that of the baseline.
_base_ = '../../configs/cam/cam_r18_shapes.py'
# Runs class_exclusion.py, so that its class is registered.
custom_imports = dict(imports=['class_exclusion'], allow_failed_imports=False)
model = dict(
    regularizers=dict(
        exclusion=dict(type='mmwsss.ClassExclusion', loss_weight=0.1)))
