# The recipe ACR's script states rather than the one it runs: gradients of
# 4 GPUs x 1 image are averaged. Run it with
#   tools/dist_train.sh configs/acr/acr_vit_4xb1_voc.py 4
# or on one GPU with --cfg-options train_dataloader.batch_size=4. The learning
# rate is the script's; it was never tuned for this effective batch size.
_base_ = './acr_vit_voc.py'
