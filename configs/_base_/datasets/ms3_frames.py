# AVSBench MS3 (multiple sources), a frame a sample: for models of mmseg. Label 0 is the background.
_base_ = './s4_frames.py'
train_dataloader = dict(dataset=dict(layout='ms3'))
val_dataloader = dict(dataset=dict(layout='ms3'))
test_dataloader = dict(dataset=dict(layout='ms3'))
