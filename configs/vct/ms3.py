_base_ = ['../_base_/datasets/ms3_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='VctAdapter',
        variant='ms3',
        checkpoint='checkpoints/vct_ms3.pth',
        maskige='maskige'))
