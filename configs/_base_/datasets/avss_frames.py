# AVSBench AVSS (semantic), a frame a sample: for models of mmseg. Label 0 is the background.
_base_ = './s4_frames.py'
train_dataloader = dict(dataset=dict(layout='avss'))
val_dataloader = dict(dataset=dict(layout='avss'))
test_dataloader = dict(dataset=dict(layout='avss'))
