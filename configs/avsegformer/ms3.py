_base_ = ['../_base_/datasets/ms3_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='AVSegFormerAdapter',
        variant='pvt_v2_b5-ms3',
        checkpoint='checkpoints/avsegformer_ms3.pth'))
