# IRNet after AMN: the walk starts from the CAMs to the power of 1.3,
# which takes back some of their width.
_base_ = '../affinity/irnet_r50_voc.py'
model = dict(propagate=dict(cam_power=1.3))
