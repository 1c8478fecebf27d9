_base_ = ['../_base_/datasets/avss_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='VctAdapter',
        variant='avss',
        checkpoint='checkpoints/vct_avss.pth',
        maskige='maskige'))
