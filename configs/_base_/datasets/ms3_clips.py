# AVSBench MS3 (multiple sources), a whole clip a sample: for audio-visual models. Label 0 is the background.
_base_ = './s4_clips.py'
val_dataloader = dict(dataset=dict(layout='ms3'))
test_dataloader = dict(dataset=dict(layout='ms3'))
