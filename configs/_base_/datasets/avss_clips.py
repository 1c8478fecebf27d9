# AVSBench AVSS (semantic), a whole clip a sample: for audio-visual models. Label 0 is the background.
_base_ = './s4_clips.py'
val_dataloader = dict(dataset=dict(layout='avss'))
test_dataloader = dict(dataset=dict(layout='avss'))
