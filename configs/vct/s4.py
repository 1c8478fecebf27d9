_base_ = ['../_base_/datasets/s4_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='VctAdapter',
        variant='s4',
        checkpoint='checkpoints/vct_s4.pth',
        maskige='maskige'))
