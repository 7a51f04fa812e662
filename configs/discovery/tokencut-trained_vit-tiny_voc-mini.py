# FOUND's training with TokenCut as the rule, whose masks are better than those
# of the background rule where the network was trained as a classifier.
_base_ = './found-trained_vit-tiny_voc-mini.py'
model = dict(
    teacher=dict(_delete_=True, type='mmwsss.NormalizedCut', threshold=0.2))
